"""Measure a prompt pack on labelled images, each at its own resolution."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models_store.errors import BadInputError
from models_store.packs import ZERO_SHOT, PromptPack
from models_store.preprocess import to_image_size
from models_store.vlsm import FrozenVLSM, TextFeatures
from trainer.data.examples import Counted, Examples, load_examples, normalise, unit_scale
from trainer.data.folder import read_split
from trainer.forward import PhraseBook, pack_logits
from trainer.metrics import hausdorff95, overlap
from trainer.scores import Evaluation, ImageScore

THRESHOLD = 0.5
BATCH = 16
TRAINING_SPLIT = "train"


def check_threshold(threshold: float) -> None:
    """Raise BadInputError unless the threshold is in 0..1."""
    if not 0 <= threshold <= 1:
        raise BadInputError(f"threshold {threshold} is outside 0..1")


@torch.inference_mode()
def batched_logits(
    vlsm: FrozenVLSM, pack: PromptPack, examples: Examples, *, device: torch.device, batch_size: int
) -> Iterator[tuple[range, Tensor]]:
    """Logits [B, 1, S, S] of consecutive examples under their first phrases, batch by batch."""
    first = [phrases[0] for phrases in examples.phrases]
    book = PhraseBook(vlsm, first, prompt_tokens=pack.text_tokens)
    table, rows = book.encode_all(pack), book.rows(first)
    for start in range(0, len(examples), batch_size):
        span = range(start, min(start + batch_size, len(examples)))
        at = slice(span.start, span.stop)
        pixels = normalise(unit_scale(examples.images[at], device), vlsm.spec)
        yield span, pack_logits(vlsm, pack, pixels, TextFeatures(table[rows[at]]))


@torch.inference_mode()
def mask_at_own_size(logits: Tensor, shape: tuple[int, int], threshold: float) -> NDArray[np.bool_]:
    """The mask [H, W] of one image from its logits [1, 1, S, S]."""
    probability = to_image_size(logits, *shape)[0]
    mask: NDArray[np.bool_] = (probability > threshold).cpu().numpy()
    return mask


def evaluate_examples(
    vlsm: FrozenVLSM,
    pack: PromptPack,
    examples: Examples,
    *,
    device: torch.device,
    threshold: float = THRESHOLD,
    batch_size: int = BATCH,
    progress: Counted | None = None,
) -> Evaluation:
    """Measure a pack on loaded examples.

    Args:
        vlsm: The frozen model.
        pack: The pack; ``ZERO_SHOT`` for the model as it is.
        examples: What to measure on.
        device: Where the model is.
        threshold: Probability above which a pixel belongs to the mask.
        batch_size: Images per forward pass.
        progress: Told how many images are done.
    """
    check_threshold(threshold)
    pack.check_fits(vlsm.spec)
    scores: list[ImageScore] = []
    for span, logits in batched_logits(vlsm, pack, examples, device=device, batch_size=batch_size):
        for row, index in enumerate(span):
            truth = examples.truths[index].unpack()
            mask = mask_at_own_size(logits[row : row + 1], examples.truths[index].shape, threshold)
            name, phrase = examples.items[index].name, examples.phrases[index][0]
            scores.append(ImageScore(name, phrase, overlap(mask, truth), hausdorff95(mask, truth)))
        if progress is not None:
            progress(span.stop, len(examples))
    return Evaluation(tuple(scores), threshold)


def evaluation_examples(
    folder: Path,
    vlsm: FrozenVLSM,
    *,
    split: str = "val",
    prompt_key: str = "p1",
    phrase: str | None = None,
    allow_training_images: bool = False,
    progress: Counted | None = None,
) -> Examples:
    """Load a split to measure on.

    Raises:
        BadInputError: The split is the training one and was not explicitly allowed.
    """
    if split == TRAINING_SPLIT and not allow_training_images:
        raise BadInputError(
            "split 'train' holds the images checkpoints were tuned on, so figures on it say nothing about "
            "new images; measure on 'val' or 'test', or pass --allow-training-images if you mean it"
        )
    items = read_split(folder, split)
    return load_examples(items, vlsm.spec, prompt_key=prompt_key, phrase=phrase, progress=progress)


def evaluate(
    folder: Path,
    *,
    vlsm: FrozenVLSM,
    pack: PromptPack = ZERO_SHOT,
    split: str = "val",
    prompt_key: str = "p1",
    phrase: str | None = None,
    threshold: float = THRESHOLD,
    batch_size: int = BATCH,
    device: torch.device | None = None,
    allow_training_images: bool = False,
    progress: Counted | None = None,
) -> Evaluation:
    """Measure a pack on a split of a dataset folder; see :func:`evaluate_examples`."""
    check_threshold(threshold)
    examples = evaluation_examples(
        folder,
        vlsm,
        split=split,
        prompt_key=prompt_key,
        phrase=phrase,
        allow_training_images=allow_training_images,
    )
    return evaluate_examples(
        vlsm,
        pack,
        examples,
        device=device or torch.device("cpu"),
        threshold=threshold,
        batch_size=batch_size,
        progress=progress,
    )
