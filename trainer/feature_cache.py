"""Features of frozen work, kept by key: in memory under a budget, then on disk, else not at all."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

FILE = "features.bin"
GIGABYTE = 1 << 30


class Mappable(Protocol):
    """A bundle of tensors, such as ``ImageFeatures``, that can be rebuilt with every tensor changed."""

    def map(self, change: Callable[[Tensor], Tensor]) -> Self: ...


Bundle = TypeVar("Bundle", bound=Mappable)
K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, kw_only=True)
class CacheBudget:
    """How much may be kept of frozen work; all zero keeps nothing.

    Attributes:
        memory: Bytes in memory.
        disk: Bytes in the run's folder, used when memory is full.
    """

    memory: int = 2 * GIGABYTE
    disk: int = 8 * GIGABYTE


NO_CACHE = CacheBudget(memory=0, disk=0)


def tensors_of(bundle: Mappable) -> list[Tensor]:
    """The tensors of a bundle, in the order ``map`` goes through them."""
    found: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    bundle.map(note)
    return found


def rebuilt(bundle: Bundle, tensors: Sequence[Tensor]) -> Bundle:
    """The bundle with other tensors, in the order of :func:`tensors_of`."""
    rest = iter(tensors)
    return bundle.map(lambda _: next(rest))


def joined(bundles: Sequence[Bundle]) -> Bundle:
    """Bundles of some rows each as one bundle of all rows."""
    if len(bundles) == 1:
        return bundles[0]
    columns = zip(*map(tensors_of, bundles), strict=True)
    return rebuilt(bundles[0], [torch.cat(column) for column in columns])


def _channels_last(tensor: Tensor) -> bool:
    return tensor.ndim == 4 and not tensor.is_contiguous() and tensor.permute(0, 2, 3, 1).is_contiguous()


def _bytes_of(tensor: Tensor) -> Tensor:
    """A tensor's values as bytes; a channels-last one in its own order, which results depend on."""
    laid = tensor.permute(0, 2, 3, 1) if _channels_last(tensor) else tensor.contiguous()
    return laid.cpu().flatten().view(torch.uint8)


def _from_bytes(content: Tensor, like: Tensor) -> Tensor:
    flat = content.view(like.dtype)
    if _channels_last(like):
        n, c, h, w = like.shape
        return flat.view(n, h, w, c).permute(0, 3, 1, 2).to(like.device)
    return flat.view(like.shape).to(like.device)


class FeatureCache(Generic[K, Bundle]):
    """Bundles of one shape by key.

    What is asked for again is the same bits as what was put in, whether it was in memory or on disk.

    Args:
        budget: How much to keep.
        folder: Where the file on disk goes; None uses no disk.
        dtype: Kept in this type, which rounds; None keeps values as they are.
    """

    def __init__(self, budget: CacheBudget, *, folder: Path | None = None, dtype: torch.dtype | None = None):
        self._budget, self._folder, self._dtype = budget, folder, dtype
        self._memory: dict[K, Bundle] = {}
        self._used = 0
        self._slots: dict[K, int] = {}
        self._file: np.memmap | None = None
        self._like: Bundle | None = None

    @property
    def in_memory(self) -> int:
        """Number of bundles in memory."""
        return len(self._memory)

    @property
    def on_disk(self) -> int:
        """Number of bundles on disk."""
        return len(self._slots)

    def rounded(self, bundle: Bundle) -> Bundle:
        """A bundle as it would come back, so that what is not kept is treated alike."""
        if self._dtype is None:
            return bundle
        return bundle.map(lambda t: t.to(self._dtype).to(t.dtype) if t.is_floating_point() else t)

    def get(self, key: K) -> Bundle | None:
        """What was put in under a key, or None."""
        kept = self._memory.get(key)
        if kept is None and key in self._slots:
            kept = self._read(self._slots[key])
        if kept is None or self._dtype is None or self._like is None:
            return kept
        types = [tensor.dtype for tensor in tensors_of(self._like)]
        return rebuilt(kept, [t.to(d) for t, d in zip(tensors_of(kept), types, strict=True)])

    def put(self, key: K, bundle: Bundle) -> None:
        """Keep a bundle if the budget allows it."""
        if self._like is None:
            self._like = bundle.map(torch.empty_like)
        narrow = bundle
        if self._dtype is not None:
            narrow = bundle.map(lambda t: t.to(self._dtype) if t.is_floating_point() else t)
        size = sum(t.numel() * t.element_size() for t in tensors_of(narrow))
        if self._used + size <= self._budget.memory:
            self._memory[key] = narrow
            self._used += size
        elif self._folder is not None and (len(self._slots) + 1) * size <= self._budget.disk:
            self._write(key, narrow, size)

    def _write(self, key: K, bundle: Bundle, size: int) -> None:
        if self._file is None:
            assert self._folder is not None
            self._template = bundle.map(torch.empty_like)
            self._folder.mkdir(parents=True, exist_ok=True)
            slots = self._budget.disk // size
            self._file = np.memmap(self._folder / FILE, np.uint8, "w+", shape=(slots, size))
        slot = len(self._slots)
        self._file[slot] = torch.cat([_bytes_of(t) for t in tensors_of(bundle)]).numpy()
        self._slots[key] = slot

    def _read(self, slot: int) -> Bundle:
        assert self._file is not None
        content = torch.from_numpy(np.array(self._file[slot]))
        like = tensors_of(self._template)
        sizes = [t.numel() * t.element_size() for t in like]
        parts = content.split(sizes)
        return rebuilt(
            self._template, [_from_bytes(part.clone(), t) for part, t in zip(parts, like, strict=True)]
        )
