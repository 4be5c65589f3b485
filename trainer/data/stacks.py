"""Many images and masks in little memory: images shared between rows, masks at one bit per pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Rows = Tensor | slice | Sequence[int]


class PackedMask:
    """A mask [H, W] at one bit per pixel, so that truths of full size stay in memory."""

    def __init__(self, mask: NDArray[np.bool_]):
        self.shape = (mask.shape[0], mask.shape[1])
        self.bits = np.packbits(mask)

    def equals(self, other: PackedMask) -> bool:
        """Whether both hold the same mask."""
        return self.shape == other.shape and bool(np.array_equal(self.bits, other.bits))

    def unpack(self) -> NDArray[np.bool_]:
        """The mask [H, W]."""
        height, width = self.shape
        return np.unpackbits(self.bits, count=height * width).reshape(self.shape).astype(np.bool_)


class MaskStack:
    """N masks [S, S] at one bit per pixel; indexing unpacks the rows asked for as [B, S, S] bool.

    Args:
        bits: [N, ceil(S * S / 8)] uint8.
        side: S in pixels.
    """

    def __init__(self, bits: NDArray[np.uint8], side: int):
        self._bits, self._side = bits, side

    @classmethod
    def of(cls, masks: Sequence[PackedMask]) -> MaskStack:
        """At least one mask; all are of one square size."""
        return cls(np.stack([mask.bits for mask in masks]), masks[0].shape[0])

    def __len__(self) -> int:
        return len(self._bits)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, S, S)."""
        return len(self), self._side, self._side

    def __getitem__(self, rows: Rows) -> Tensor:
        bits = self._bits[_plain(rows)]
        flat = np.unpackbits(bits, axis=1, count=self._side**2)
        return torch.from_numpy(flat.reshape(len(bits), self._side, self._side).astype(np.bool_))

    def select(self, rows: Rows) -> MaskStack:
        """Some of the masks, still packed."""
        return MaskStack(self._bits[_plain(rows)], self._side)


@dataclass(frozen=True)
class SharedImages:
    """N rows of M distinct images; indexing gives the images of the rows asked for.

    Attributes:
        distinct: [M, S, S, 3] uint8, each image once.
        at: [N] long, the image of each row.
    """

    distinct: Tensor
    at: Tensor

    def __len__(self) -> int:
        return len(self.at)

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, S, S, 3)."""
        return len(self), *self.distinct.shape[1:]

    def __getitem__(self, rows: Rows) -> Tensor:
        chosen = rows if isinstance(rows, (Tensor, slice)) else torch.tensor(list(rows), dtype=torch.long)
        return self.distinct[self.at[chosen]]

    def select(self, rows: Sequence[int]) -> SharedImages:
        """Some of the rows, with the images they need and no others."""
        used, at = self.at[list(rows)].unique(return_inverse=True)
        return SharedImages(self.distinct[used], at)


def _plain(rows: Rows) -> NDArray[np.int64] | slice:
    if isinstance(rows, slice):
        return rows
    if isinstance(rows, Tensor):
        return rows.cpu().numpy()
    return np.asarray(rows, dtype=np.int64)
