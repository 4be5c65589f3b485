"""How often a base model leaves the image alone when a phrase names something that is not there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from models_store.preprocess import to_image_size, to_pixels
from models_store.vlsm import FrozenVLSM
from trainer.data.folder import read_split
from trainer.pretrain.recipe import Recipe

# A mask of less than this share of the image counts as empty.
EMPTY_BELOW = 0.01
THRESHOLD = 0.5


@dataclass(frozen=True)
class AbsenceFigure:
    """Cases (image, phrase) in which under 1 % of the image was marked."""

    kept_empty: int = 0
    n: int = 0

    @property
    def share(self) -> float:
        """Share of the cases; NaN of none."""
        return self.kept_empty / self.n if self.n else float("nan")

    def __add__(self, other: AbsenceFigure) -> AbsenceFigure:
        return AbsenceFigure(self.kept_empty + other.kept_empty, self.n + other.n)


@dataclass(frozen=True)
class Absence:
    """One dataset's images asked for the other datasets' classes, and for held-out things."""

    other_classes: AbsenceFigure = AbsenceFigure()
    held_out: AbsenceFigure = AbsenceFigure()

    def __add__(self, other: Absence) -> Absence:
        return Absence(self.other_classes + other.other_classes, self.held_out + other.held_out)


@torch.inference_mode()
def measure_absence(
    vlsm: FrozenVLSM,
    recipe: Recipe,
    data: Path,
    *,
    split: str = "val",
    prompt_key: str = "p1",
    progress: Callable[[], None] = lambda: None,
) -> dict[str, Absence]:
    """Ask every image of a split for things that are not in it.

    Args:
        vlsm: The model.
        recipe: Names the datasets and the held-out things, which pretraining never sees.
        data: Folder of datasets.
        split: Split to ask.
        prompt_key: Which phrase of the other datasets to use.
        progress: Called after each image.

    Returns:
        The figures of each dataset's images, by folder.
    """
    items = {row.folder: read_split(data / row.folder, split) for row in recipe.datasets}
    phrase = {folder: rows[0].phrases(prompt_key)[0] for folder, rows in items.items()}
    held_out = list(recipe.absent_held_out)
    figures = dict.fromkeys(items, Absence())
    for folder, rows in items.items():
        others = [phrase[name] for name in items if name != folder]
        text = vlsm.encode_text(vlsm.tokenize(others + held_out))
        for item in rows:
            image = item.image()
            features = vlsm.encode_image(to_pixels(image, vlsm.spec)[None])
            logits = vlsm.decode(features.expand(len(text)), text).logits
            marked = (to_image_size(logits, *image.shape[:2]) > THRESHOLD).float().mean(dim=(1, 2))
            empty = (marked < EMPTY_BELOW).tolist()
            figures[folder] += Absence(
                AbsenceFigure(sum(empty[: len(others)]), len(others)),
                AbsenceFigure(sum(empty[len(others) :]), len(held_out)),
            )
            progress()
    return figures
