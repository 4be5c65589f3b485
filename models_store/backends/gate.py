"""Whether masks made with 8-bit integers are as good as those in single precision.

Measured as the mean Dice between both masks of the same image and phrase. Figures of the embedded
models are shipped; anyone can measure another model on images of their own, and the figure is kept
beside its graphs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models_store.backends.graphs import FORMAT
from models_store.bases import embedded_folder
from models_store.errors import BadInputError, DamagedError
from models_store.files import replace_file
from models_store.json_files import read_object
from models_store.packs import ZERO_SHOT, segment_logits
from models_store.preprocess import to_pixels
from models_store.vlsm import FrozenVLSM

LEAST_DICE = 0.99
FIGURE = "dice.json"
SHIPPED = "int8_dice.json"


@dataclass(frozen=True)
class DiceFigure:
    """Agreement of 8-bit masks with those in single precision.

    Attributes:
        format: Of the graphs it was measured with.
        mean_dice: Mean over images on which either mask has any pixel.
        least_dice: The least of them.
        images: How many those were.
        empty: On how many further images both masks were empty.
        source: What the images were.
    """

    format: int
    mean_dice: float
    least_dice: float
    images: int
    empty: int
    source: str

    @property
    def passes(self) -> bool:
        """Whether 8-bit masks may be served."""
        return self.images > 0 and self.mean_dice >= LEAST_DICE


@torch.inference_mode()
def measure_dice(
    reference: FrozenVLSM,
    other: FrozenVLSM,
    samples: Iterable[tuple[NDArray[np.uint8], str]],
    source: str,
    threshold: float = 0.5,
) -> DiceFigure:
    """Compare zero-shot masks, at the model's size.

    Args:
        reference: In single precision.
        other: On 8-bit integers.
        samples: Images [H, W, 3] and a phrase each.
        source: What the images are, for the record.
        threshold: Where probabilities are cut.

    Raises:
        BadInputError: No mask had any pixel, so there is nothing to compare.
    """
    found: list[float] = []
    empty = 0
    for image, phrase in samples:
        pixels = to_pixels(image, reference.spec)[None]
        one, two = (_mask(vlsm, pixels, phrase, threshold) for vlsm in (reference, other))
        total = int(one.sum() + two.sum())
        if total == 0:
            empty += 1
        else:
            found.append(2 * int((one & two).sum()) / total)
    if not found:
        raise BadInputError(f"{empty} images gave no mask at all, so nothing can be compared; give others")
    return DiceFigure(FORMAT, float(np.mean(found)), min(found), len(found), empty, source)


def _mask(vlsm: FrozenVLSM, pixels: Tensor, phrase: str, threshold: float) -> Tensor:
    return segment_logits(vlsm, ZERO_SHOT, pixels, vlsm.tokenize([phrase])).sigmoid() > threshold


def keep_figure(folder: Path, figure: DiceFigure) -> None:
    """Keep a measurement beside a base model's 8-bit graphs."""
    replace_file(folder / FIGURE, json.dumps(asdict(figure), indent=2).encode())


def known_figure(digest: str, folder: Path, shipped: Path | None = None) -> DiceFigure | None:
    """The figure measured on this machine, or else the one shipped; None where there is neither.

    Args:
        digest: Of the base model's weights.
        folder: Of its 8-bit graphs.
        shipped: The file of shipped figures; None means the package's.
    """
    index = shipped or embedded_folder() / SHIPPED
    raw = None
    if (folder / FIGURE).is_file():
        raw = read_object(folder / FIGURE, owner="folder of ONNX graphs")
    elif index.is_file():
        raw = read_object(index, owner="package").get(digest)
    if raw is None:
        return None
    try:
        figure = DiceFigure(**raw)
    except TypeError as error:
        raise DamagedError(f"a recorded Dice figure cannot be used: {error}") from error
    return figure if figure.format == FORMAT else None
