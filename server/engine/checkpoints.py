"""Checkpoints kept ready in memory."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

from models_store.packs import PromptPack
from models_store.registry import Reference, Registry
from models_store.vlsm import VLSMSpec


@dataclass(frozen=True)
class ServedCheckpoint:
    """A verified checkpoint, its pack where the model is.

    Attributes:
        reference: Which version it is.
        strategy: How it was tuned.
        threshold: Where it wants probabilities cut.
        digest: Digest of its pack.
        pack: The pack, on the engine's device.
    """

    reference: Reference
    strategy: str
    threshold: float
    digest: str
    pack: PromptPack


class PackCache:
    """The checkpoints used last; versions never change, so what is kept stays right.

    Args:
        registry: Where they come from.
        spec: The base model they must be made for.
        device: Where packs go.
        size: How many are kept.
    """

    def __init__(self, *, registry: Registry, spec: VLSMSpec, device: str, size: int):
        self.registry = registry
        self.spec = spec
        self.device = device
        self.size = size
        self._kept: OrderedDict[Reference, ServedCheckpoint] = OrderedDict()
        self._lock = Lock()

    def get(self, reference: Reference) -> ServedCheckpoint:
        """A checkpoint, read and verified unless it is kept.

        Raises:
            UnknownNameError: There is no such version.
            DamagedError: Its files do not match their digests.
            MismatchError: It was made for another base model.
        """
        with self._lock:
            if reference in self._kept:
                self._kept.move_to_end(reference)
                return self._kept[reference]
        # Read outside the lock: a slow disk must not hold up those whose pack is here.
        served = self._read(reference)
        with self._lock:
            self._kept[reference] = served
            while len(self._kept) > self.size:
                self._kept.popitem(last=False)
        return served

    def __len__(self) -> int:
        return len(self._kept)

    def _read(self, reference: Reference) -> ServedCheckpoint:
        checkpoint = self.registry.read(reference)
        checkpoint.check_base(self.spec)
        pack, config = checkpoint.pack.to(self.device), checkpoint.config
        return ServedCheckpoint(reference, config.strategy, config.threshold, config.pack_digest, pack)
