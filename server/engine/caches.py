"""A cache that holds so many bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

from torch import Tensor

from models_store.vlsm import ImageFeatures, TextFeatures
from server.engine.events import EngineEvents

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ByteCache(Generic[K, V]):
    """Keeps what was used last within a budget; safe to use from many threads.

    Args:
        kind: Its name for the events.
        budget: Most bytes held; what is larger alone is never kept.
        size_of: Bytes of a value.
        events: Told what is held.
        most: Most entries, if they are bounded too.
    """

    def __init__(
        self,
        *,
        kind: str,
        budget: int,
        size_of: Callable[[V], int],
        events: EngineEvents,
        most: int | None = None,
    ):
        self.kind = kind
        self.budget = budget
        self.most = most
        self.size = 0
        self._size_of = size_of
        self._events = events
        self._kept: OrderedDict[K, V] = OrderedDict()
        self._lock = Lock()

    def get(self, key: K) -> V | None:
        """The value, used just now; None where there is none."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: K, value: V) -> None:
        """Keep a value; the longest unused make room."""
        size = self._size_of(value)
        with self._lock:
            self._drop(key)
            if size <= self.budget:
                self._kept[key] = value
                self.size += size
            while self.size > self.budget or (self.most is not None and len(self._kept) > self.most):
                self._drop(next(iter(self._kept)))
            entries, held = len(self._kept), self.size
        self._events.held(self.kind, entries, held)

    def values(self) -> list[V]:
        """All values, the longest unused first."""
        with self._lock:
            return list(self._kept.values())

    def remove(self, key: K) -> None:
        """Forget a value, if it is kept."""
        with self._lock:
            self._drop(key)
            entries, held = len(self._kept), self.size
        self._events.held(self.kind, entries, held)

    def _drop(self, key: K) -> None:
        if key in self._kept:
            self.size -= self._size_of(self._kept.pop(key))

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, key: K) -> bool:
        return key in self._kept


def own_memory(tensor: Tensor) -> Tensor:
    """The tensor, copied if it is a part of a larger one, which it would keep alive."""
    if tensor.untyped_storage().nbytes() > tensor.nbytes:
        return tensor.clone()
    return tensor


def image_bytes(features: ImageFeatures) -> int:
    """Bytes of an image's features."""
    pooled = () if features.pooled is None else (features.pooled,)
    return sum(x.nbytes for x in (*features.activations, *features.fine, *pooled))


def text_bytes(features: TextFeatures) -> int:
    """Bytes of a phrase's features."""
    rest = (x for x in (features.words, features.padding) if x is not None)
    return features.cond.nbytes + sum(x.nbytes for x in rest)
