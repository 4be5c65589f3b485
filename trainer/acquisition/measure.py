"""What checkpoints say of unlabelled images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models_store.packs import PromptPack, decode_pack
from models_store.vlsm import FrozenVLSM, ImageFeatures
from trainer.acquisition.encoded_once import EncodedOnce, pooled_of
from trainer.acquisition.images import ImageSet
from trainer.acquisition.scores import expected_dice, masks_dice
from trainer.data.examples import normalise, unit_scale
from trainer.phrases import Phrases

BATCH = 16


@dataclass(frozen=True)
class Doubt:
    """How sure the first checkpoint is of one mask.

    Attributes:
        phrase: What was asked for.
        expected_dice: See :func:`trainer.acquisition.scores.expected_dice`.
        empty: Whether the mask is empty.
    """

    phrase: str
    expected_dice: float
    empty: bool


@dataclass(frozen=True)
class Dissent:
    """How far another checkpoint agrees with the first.

    Attributes:
        phrase: What both were asked for.
        other: The other checkpoint's name.
        dice: Dice between the two masks.
    """

    phrase: str
    other: str
    dice: float


@dataclass(frozen=True)
class Opinion:
    """The least certain and the least agreed of an image's masks; ``dissent`` is None of one checkpoint."""

    doubt: Doubt
    dissent: Dissent | None


@torch.no_grad()
def opinions(
    vlsm: FrozenVLSM,
    packs: Mapping[str, PromptPack],
    images: ImageSet,
    phrases: Sequence[Sequence[str]],
    *,
    threshold: float,
    device: torch.device,
    batch_size: int = BATCH,
) -> list[Opinion]:
    """Ask checkpoints for every phrase of every image.

    Args:
        vlsm: The frozen model; an :class:`EncodedOnce` keeps its work for the next time.
        packs: Checkpoints by name; the first is the one whose doubt counts, and which others are
            compared with.
        images: The images.
        phrases: At least one per image.
        threshold: Probability above which a pixel belongs to the mask.
        device: Where the model is.
        batch_size: Images per forward pass.
    """
    distinct = sorted({phrase for texts in phrases for phrase in texts})
    texts = {name: Phrases.under(vlsm, pack, distinct) for name, pack in packs.items()}
    found: list[Opinion] = []
    for start in range(0, len(phrases), batch_size):
        at = range(start, min(start + batch_size, len(phrases)))
        rows = [(row, phrase) for row, index in enumerate(at) for phrase in phrases[index]]
        asked, shown = [phrase for _, phrase in rows], torch.tensor([row for row, _ in rows], device=device)
        pixels = normalise(unit_scale(images.read(at), device), vlsm.spec)
        encoded: dict[str, ImageFeatures] = {}
        logits: dict[str, Tensor] = {}
        for name, pack in packs.items():
            if pack.visual_digest not in encoded:
                pooled = any(other.needs_pooled for other in packs.values())
                features = vlsm.encode_image(pixels, pack.visual, pooled=pooled)
                encoded[pack.visual_digest] = features.select(shown)
            image = encoded[pack.visual_digest]
            logits[name] = decode_pack(vlsm, pack, image, texts[name].features(pack, asked, image))
        found += _batch_opinions(logits, rows, threshold)
    return found


def _batch_opinions(
    logits: Mapping[str, Tensor], rows: Sequence[tuple[int, str]], threshold: float
) -> list[Opinion]:
    """The opinions on a batch's images from each checkpoint's logits [R, 1, S, S] of its rows."""
    first, *others = logits
    masks = {name: each[:, 0].float().sigmoid() > threshold for name, each in logits.items()}
    expected, empty = (
        expected_dice(logits[first], threshold).tolist(),
        (~masks[first].flatten(1).any(1)).tolist(),
    )
    doubts: dict[int, list[Doubt]] = {}
    dissents: dict[int, list[Dissent]] = {}
    for at, (image, phrase) in enumerate(rows):
        doubts.setdefault(image, []).append(Doubt(phrase, expected[at], empty[at]))
    for other in others:
        for (image, phrase), dice in zip(rows, masks_dice(masks[first], masks[other]).tolist(), strict=True):
            dissents.setdefault(image, []).append(Dissent(phrase, other, dice))
    return [
        Opinion(
            min(doubts[image], key=lambda doubt: doubt.expected_dice),
            min(dissents[image], key=lambda dissent: dissent.dice) if dissents else None,
        )
        for image in sorted(doubts)
    ]


@torch.no_grad()
def pooled_features(
    vlsm: FrozenVLSM, images: ImageSet, *, device: torch.device, batch_size: int = BATCH
) -> NDArray[np.float64]:
    """Pooled features [N, pooled_width] of images, each encoded by itself."""
    found: list[Tensor] = []
    for start in range(0, len(images.names), batch_size):
        at = range(start, min(start + batch_size, len(images.names)))
        pixels = normalise(unit_scale(images.read(at), device), vlsm.spec)
        if isinstance(vlsm, EncodedOnce):
            found.append(vlsm.pooled(pixels))
        else:
            found += [pooled_of(vlsm.encode_image(image, pooled=True)) for image in pixels.split(1)]
    if not found:
        return np.zeros((0, vlsm.spec.pooled_width))
    return torch.cat(found).cpu().double().numpy()
