"""Images under different visual prompts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from models_store.mixed.prompts import MixedPrompts, stack_prompts, takes_mixed
from models_store.packs import PromptPack
from models_store.vlsm import FrozenVLSM, ImageFeatures


def encode_images(
    vlsm: FrozenVLSM, pixels: Sequence[Tensor], packs: Sequence[PromptPack], *, most: int = 64
) -> list[ImageFeatures]:
    """Features of images, each under its own pack, in as few forward passes as go.

    Rows share a pass if their prompts are of one number, since all tokens of an image attend to each
    other; their depths may differ. The pooled feature, which costs further layers, is made only
    for packs that read it.

    Args:
        vlsm: The frozen model.
        pixels: One or more normalised [3, S, S].
        packs: As many.
        most: Images per pass.

    Returns:
        Features of one image each, in order; they may share memory.
    """
    mixing = takes_mixed(vlsm)
    groups: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for row, pack in enumerate(packs):
        shape = (0, 0) if pack.visual is None else (pack.visual.shape[1], pack.visual.shape[0])
        groups[(shape[0] if mixing else shape, pack.needs_pooled)].append(row)
    found: dict[int, ImageFeatures] = {}
    for group in groups.values():
        for start in range(0, len(group), most):
            rows = group[start : start + most]
            features = _encode(vlsm, [pixels[row] for row in rows], [packs[row] for row in rows])
            found |= zip(rows, split_images(features), strict=True)
    return [found[row] for row in range(len(packs))]


def _encode(vlsm: FrozenVLSM, pixels: Sequence[Tensor], packs: Sequence[PromptPack]) -> ImageFeatures:
    batch = pixels[0][None] if len(pixels) == 1 else torch.stack(list(pixels))
    prompts = stack_prompts([pack.visual for pack in packs])
    pooled = packs[0].needs_pooled
    if not isinstance(prompts, MixedPrompts):
        return vlsm.encode_image(batch, prompts, pooled=pooled)
    if not takes_mixed(vlsm):
        raise ValueError(f"{vlsm.spec.name} takes no prompts of different shapes in one batch")
    return vlsm.encode_image(batch, prompts, pooled=pooled)


def split_images(features: ImageFeatures) -> list[ImageFeatures]:
    """The features of each image, viewed without copying."""
    if len(features) == 1:
        return [features]
    return [features.map(lambda x, row=row: x[row : row + 1]) for row in range(len(features))]  # type: ignore[misc]


def stack_images(features: Sequence[ImageFeatures]) -> ImageFeatures:
    """One batch of features of one image each and as many prompt tokens; the same image is not copied.

    The pooled feature is left out: nothing that decodes reads it.
    """
    first = replace(features[0], pooled=None)
    if all(other is features[0] for other in features):
        return first.expand(len(features))
    return replace(
        first,
        activations=tuple(map(torch.cat, zip(*(other.activations for other in features), strict=True))),
        fine=tuple(map(torch.cat, zip(*(other.fine for other in features), strict=True))),
    )
