"""Rows run one at a time, where rows of one pass are not independent.

Graphs on 8-bit integers take the scale of their activations from all values of a pass, so that a row's
result would depend on the rows beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from models_store.mixed.prompts import MixedPrompts
from models_store.vlsm import ImageFeatures, Tokens


def prompts_of(prompts: Tensor | MixedPrompts | None, row: int) -> Tensor | None:
    """One row's own prompts [D, n, d], without padding; None where it has none."""
    if isinstance(prompts, MixedPrompts):
        depth, number = prompts.depths[row], prompts.numbers[row]
        return prompts.values[row, :depth, :number] if depth and number else None
    return prompts if prompts is None or prompts.ndim == 3 else prompts[row]


def tokens_of(tokens: Tokens, row: int) -> Tokens:
    """One row's own tokens, without padding."""
    length = int(tokens.mask[row].sum())
    return Tokens(tokens.ids[row : row + 1, :length], tokens.mask[row : row + 1, :length])


def join_images(features: Sequence[ImageFeatures]) -> ImageFeatures:
    """One batch of the features of one image each."""
    pooled = [each.pooled for each in features if each.pooled is not None]
    return replace(
        features[0],
        activations=tuple(map(torch.cat, zip(*(each.activations for each in features), strict=True))),
        fine=tuple(map(torch.cat, zip(*(each.fine for each in features), strict=True))),
        pooled=torch.cat(pooled) if pooled else None,
    )
