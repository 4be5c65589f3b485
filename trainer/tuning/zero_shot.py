"""The untuned model's figures, measured once for the same images and kept."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch

from models_store.files import replace_file
from models_store.packs import ZERO_SHOT
from models_store.vlsm import FrozenVLSM
from trainer.data.examples import Counted, Examples
from trainer.encoded import RememberedImages
from trainer.evaluate import evaluate_examples
from trainer.scores import Evaluation

FORMAT = 1


def zero_shot(
    vlsm: FrozenVLSM,
    examples: Examples,
    digest: str,
    *,
    folder: Path,
    images: RememberedImages,
    device: torch.device,
    threshold: float,
    batch_size: int,
    progress: Counted | None = None,
) -> Evaluation:
    """Measure the model as it is, or take what an earlier run measured on the very same rows.

    Args:
        vlsm: The frozen model.
        examples: The rows.
        digest: Of names, files and phrases of the rows.
        folder: Where evaluations are kept.
        images: Features of the rows' images.
        device: Where the model is.
        threshold: Probability above which a pixel belongs to the mask.
        batch_size: Rows per forward pass.
        progress: Told how many rows are done.
    """
    spec = vlsm.spec
    same = [FORMAT, digest, spec.digest, spec.preprocessing, threshold, device.type, batch_size]
    path = folder / f"{hashlib.sha256(json.dumps(same, sort_keys=True).encode()).hexdigest()[:32]}.json"

    found = _read(path, threshold)
    if found is None:
        found = evaluate_examples(
            vlsm,
            ZERO_SHOT,
            examples,
            device=device,
            threshold=threshold,
            batch_size=batch_size,
            images=images,
            progress=progress,
        )
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(path, (json.dumps(found.rows()) + "\n").encode())
    elif progress is not None:
        progress(len(examples), len(examples))
    return found


def _read(path: Path, threshold: float) -> Evaluation | None:
    """A kept evaluation; None where there is none, or none that can be read: it is measured anew then."""
    try:
        return Evaluation.from_rows(json.loads(path.read_text(encoding="utf-8")), threshold)
    except (OSError, ValueError, KeyError, TypeError):
        return None
