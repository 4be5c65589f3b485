"""Measure a prompt pack on labelled images, each at its own resolution."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models_store.errors import BadInputError
from models_store.packs import ZERO_SHOT, PromptPack, decode_pack
from models_store.preprocess import to_image_size
from models_store.vlsm import FrozenVLSM, ImageFeatures
from trainer.data.examples import Counted, Examples, load_examples
from trainer.data.folder import read_split
from trainer.encoded import FeatureSource, image_source
from trainer.metrics import hausdorff95, overlap
from trainer.phrases import Phrases
from trainer.scores import Evaluation, ImageScore

THRESHOLD = 0.5
BATCH = 16
TRAINING_SPLIT = "train"


def check_threshold(threshold: float) -> None:
    """Raise BadInputError unless the threshold is in 0..1."""
    if not 0 <= threshold <= 1:
        raise BadInputError(f"threshold {threshold} is outside 0..1")


@torch.inference_mode()
def batched_images(
    vlsm: FrozenVLSM,
    pack: PromptPack,
    examples: Examples,
    *,
    device: torch.device,
    batch_size: int,
    images: FeatureSource | None = None,
) -> Iterator[tuple[range, ImageFeatures]]:
    """Image features of consecutive rows, batch by batch; rows of one image share its encoding.

    Args:
        vlsm: The frozen model.
        pack: The pack, whose visual prompts enter.
        examples: The rows.
        device: Where the model is.
        batch_size: Rows per batch.
        images: Where features come from; default, they are encoded here.
    """
    source = images or image_source(vlsm, pack, examples, device)
    for start in range(0, len(examples), batch_size):
        span = range(start, min(start + batch_size, len(examples)))
        distinct, rows = examples.images.at[span.start : span.stop].unique(return_inverse=True)
        features = source(distinct)
        if rows.tolist() != list(range(len(distinct))):
            features = features.select(rows.to(device))
        yield span, features


@torch.inference_mode()
def batched_logits(
    vlsm: FrozenVLSM,
    pack: PromptPack,
    examples: Examples,
    *,
    device: torch.device,
    batch_size: int,
    images: FeatureSource | None = None,
) -> Iterator[tuple[range, Tensor]]:
    """Logits [B, 1, S, S] of consecutive rows under their first phrases, batch by batch.

    The arguments are those of :func:`batched_images`.
    """
    first = [phrases[0] for phrases in examples.phrases]
    texts = Phrases.under(vlsm, pack, first)
    batches = batched_images(vlsm, pack, examples, device=device, batch_size=batch_size, images=images)
    for span, image in batches:
        yield span, decode_pack(vlsm, pack, image, texts.features(pack, first[span.start : span.stop], image))


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
    images: FeatureSource | None = None,
    progress: Counted | None = None,
) -> Evaluation:
    """Measure a pack on loaded examples.

    Args:
        vlsm: The frozen model.
        pack: The pack; ``ZERO_SHOT`` for the model as it is.
        examples: What to measure on.
        device: Where the model is.
        threshold: Probability above which a pixel belongs to the mask.
        batch_size: Rows per forward pass.
        images: Where image features come from; default, they are encoded here.
        progress: Told how many rows are done.
    """
    check_threshold(threshold)
    pack.check_fits(vlsm.spec)
    scores: list[ImageScore] = []
    batches = batched_logits(vlsm, pack, examples, device=device, batch_size=batch_size, images=images)
    for span, logits in batches:
        for row, index in enumerate(span):
            mask = mask_at_own_size(logits[row : row + 1], examples.truths[index].shape, threshold)
            scores.append(score_of(examples, index, mask))
        if progress is not None:
            progress(span.stop, len(examples))
    return Evaluation(tuple(scores), threshold)


def score_of(examples: Examples, row: int, mask: NDArray[np.bool_]) -> ImageScore:
    """How well a mask [H, W] fits the truth of a row; pixels nobody labelled count for nothing."""
    truth, left_out = truth_of(examples, row)
    return ImageScore(
        examples.items[row].name,
        examples.phrases[row][0],
        overlap(mask, truth, left_out),
        hausdorff95(mask, truth, left_out),
    )


def truth_of(examples: Examples, row: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_] | None]:
    """The truth [H, W] of a row at its image's own size, and the pixels to leave out, if any."""
    ignored = examples.ignored[row]
    return examples.truths[row].unpack(), None if ignored is None else ignored.unpack()


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
