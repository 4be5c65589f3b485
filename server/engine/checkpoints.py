"""Checkpoints kept ready in memory."""

from __future__ import annotations

import time
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Lock

from torch import Tensor

from models_store.errors import DamagedError
from models_store.identity import PresenceCut
from models_store.packs import PromptPack
from models_store.registry import Reference, Registry
from models_store.vlsm import VLSMSpec
from server.engine.caches import ByteCache
from server.engine.events import EngineEvents

Signature = tuple[tuple[str, int, int, int, int], ...]


@dataclass(frozen=True)
class ServedCheckpoint:
    """A verified checkpoint, its pack where the model is.

    Attributes:
        reference: Which version it is.
        strategy: How it was tuned.
        threshold: Where it wants probabilities cut.
        digest: Digest of its pack.
        pack: The pack, on the engine's device.
        visual_digest: Digest of its visual prompts alone.
        size: Bytes of the pack.
        presence: From which presence on a thing counts as there, where that was found out.
    """

    reference: Reference
    strategy: str
    threshold: float
    digest: str
    pack: PromptPack
    visual_digest: str
    size: int
    presence: PresenceCut | None = None


def pack_bytes(pack: PromptPack) -> int:
    """Bytes of a pack's tensors."""
    tensors: list[Tensor] = [x for x in (pack.text, pack.visual) if x is not None]
    for module in (pack.head, pack.shift):
        tensors += [] if module is None else list(module.parameters())
    return sum(x.nbytes for x in tensors)


class PackCache:
    """The checkpoints used last; versions never change, so what is kept stays right.

    A version is read by the thread that first asks for it, while everybody else goes on; others
    that ask for the same one wait for that reading. A version found damaged is not read again
    until its files change.

    Args:
        registry: Where they come from.
        spec: The base model they must be made for.
        device: Where packs go.
        size: How many are kept.
        budget: Bytes of packs kept.
        events: Told of readings.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        spec: VLSMSpec,
        device: str,
        size: int,
        budget: int,
        events: EngineEvents,
    ):
        self.registry = registry
        self.spec = spec
        self.device = device
        self._events = events
        self._kept: ByteCache[Reference, ServedCheckpoint] = ByteCache(
            kind="checkpoint", budget=budget, size_of=lambda served: served.size, events=events, most=size
        )
        self._reading: dict[Reference, Future[ServedCheckpoint]] = {}
        self._damaged: dict[Reference, tuple[Signature, DamagedError]] = {}
        self._lock = Lock()

    def get(self, reference: Reference) -> ServedCheckpoint:
        """A checkpoint, read and verified unless it is kept.

        Raises:
            UnknownNameError: There is no such version.
            DamagedError: Its files do not match their digests.
            MismatchError: It was made for another base model.
        """
        with self._lock:
            kept = self._kept.get(reference)
            if kept is None and (others := self._reading.get(reference)) is None:
                mine: Future[ServedCheckpoint] = Future()
                self._reading[reference] = mine
        self._events.cache("checkpoint", kept is not None)
        if kept is not None:
            return kept
        if others is not None:
            return others.result()
        try:
            served = self._read(reference)
        except BaseException as error:
            self._done(reference)
            mine.set_exception(error)
            raise
        self._kept.put(reference, served)
        self._done(reference)
        mine.set_result(served)
        return served

    def __len__(self) -> int:
        return len(self._kept)

    def _done(self, reference: Reference) -> None:
        with self._lock:
            del self._reading[reference]

    def _read(self, reference: Reference) -> ServedCheckpoint:
        signature = self._signature(reference)
        known = self._damaged.get(reference)
        if known is not None and known[0] == signature:
            # A new error: one that is raised again and again would collect tracebacks.
            raise DamagedError(str(known[1])) from known[1]
        before = time.perf_counter()
        try:
            checkpoint = self.registry.read(reference)
        except DamagedError as error:
            self._damaged[reference] = (signature, error.with_traceback(None))
            raise
        self._damaged.pop(reference, None)
        checkpoint.check_base(self.spec)
        pack, config = checkpoint.pack, checkpoint.config
        served = ServedCheckpoint(
            reference,
            config.strategy,
            config.threshold,
            config.pack_digest,
            # It is where it should be already; moving copies the head.
            pack if self.device == "cpu" else pack.to(self.device),
            pack.visual_digest,
            pack_bytes(pack),
            config.presence,
        )
        self._events.step("load", time.perf_counter() - before)
        return served

    def _signature(self, reference: Reference) -> Signature:
        """What changes when a version's files do; the time of the last change cannot be set by hand."""
        found = []
        for path in sorted(self.registry.folder(reference).iterdir()):
            stat = path.stat()
            found.append((path.name, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))
        return tuple(found)
