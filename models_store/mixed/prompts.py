"""Prompts of rows that differ in depth and number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeGuard

import torch
from torch import Tensor

from models_store.vlsm import FrozenVLSM, ImageFeatures, TextFeatures, Tokens


@dataclass(frozen=True)
class MixedPrompts:
    """Each row's prompts, padded to the deepest and the most.

    Attributes:
        values: [B, D, N, d]; what a row does not have is zero and never read.
        depths: Each row's own depth, 0 to D.
        numbers: Each row's own number of prompt tokens, 0 to N.
    """

    values: Tensor
    depths: tuple[int, ...]
    numbers: tuple[int, ...]

    def deeper_than(self, level: int) -> Tensor | None:
        """[B, 1, 1], true for rows that have this level; None where all have."""
        if min(self.depths) > level:
            return None
        has = [depth > level for depth in self.depths]
        return torch.tensor(has, device=self.values.device)[:, None, None]


class MixingVLSM(FrozenVLSM, Protocol):
    """A frozen model that also takes :class:`MixedPrompts`.

    It says so by an attribute ``takes_mixed_prompts`` that is true. Rows for one that does not are
    grouped, so that each group's prompts are of one shape.
    """

    takes_mixed_prompts: bool

    def encode_image(
        self,
        pixels: Tensor,
        visual_prompts: Tensor | MixedPrompts | None = None,
        *,
        pooled: bool = False,
    ) -> ImageFeatures:
        """As :meth:`FrozenVLSM.encode_image`; mixed prompts may differ in depth alone."""

    def encode_text(self, tokens: Tokens, text_prompts: Tensor | MixedPrompts | None = None) -> TextFeatures:
        """As :meth:`FrozenVLSM.encode_text`."""


def takes_mixed(vlsm: FrozenVLSM) -> TypeGuard[MixingVLSM]:
    """Whether a model takes prompts that differ between rows."""
    return bool(getattr(vlsm, "takes_mixed_prompts", False))


def stack_prompts(prompts: Sequence[Tensor | None]) -> Tensor | MixedPrompts | None:
    """One argument for a batch of rows.

    Args:
        prompts: Each row's [D, n, d], or None.

    Returns:
        None where no row has any, [D, n, d] where all have the same, [B, D, n, d] where all are of
        one shape, else padded.
    """
    some = [row for row in prompts if row is not None]
    if not some:
        return None
    if len(some) == len(prompts):
        if all(row is some[0] for row in some):
            return some[0]
        if all(row.shape == some[0].shape for row in some):
            return torch.stack(some)
    depths = tuple(0 if row is None else row.shape[0] for row in prompts)
    numbers = tuple(0 if row is None else row.shape[1] for row in prompts)
    values = some[0].new_zeros(len(prompts), max(depths), max(numbers), some[0].shape[2])
    for place, row in zip(values, prompts, strict=True):
        if row is not None:
            place[: row.shape[0], : row.shape[1]] = row
    return MixedPrompts(values, depths, numbers)
