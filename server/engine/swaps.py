"""What a reference means now, and what is served for it.

A reference is resolved once per request, by reading a file of a few bytes, so a move of an alias is
seen by the next request, whichever process made it.

**When the version that an alias names is damaged** (its files are missing or do not match their
digests), requests that name the alias are served by the newest version before it that the alias
meant and that can be read, as a rollback would. The answer names the version it was made with
and the one it stands in for; the fault is logged once, counted, and shown until the version can
be read or the alias has moved. The rule looks at nothing but the registry, so every server on
it, also one started anew, serves the same. A request that names the damaged version itself is
refused. A version made for another base model is a mistake of whoever moved the alias there, not
damage: it is refused too.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from threading import Lock

from models_store.errors import DamagedError, StudioError, UnknownNameError
from models_store.history import trail_of
from models_store.registry import CHAMPION, Reference, Registry
from server.engine.checkpoints import PackCache, ServedCheckpoint
from server.engine.events import EngineEvents
from server.errors import NoChampionError, UnknownDatasetError
from server.inputs import dataset_of

logger = logging.getLogger(__name__)
Alias = tuple[str, str]


@dataclass(frozen=True)
class Choice:
    """What a request is served with.

    Attributes:
        checkpoint: The checkpoint.
        instead_of: The damaged version that the alias names, where ``checkpoint`` stands in for it.
        alias: Dataset and alias it was asked for by; None where the version itself was named.
        moved: When the dataset's aliases were last changed, in seconds since 1970.
    """

    checkpoint: ServedCheckpoint
    instead_of: Reference | None = None
    alias: Alias | None = None
    moved: float = 0.0


class Swaps:
    """Follows aliases.

    Args:
        registry: Where they are.
        packs: Where checkpoints come from.
        events: Told of swaps and damaged versions.
    """

    def __init__(self, *, registry: Registry, packs: PackCache, events: EngineEvents):
        self.registry = registry
        self.packs = packs
        self._events = events
        self._lock = Lock()
        # What the last mask made by an alias was made with.
        self._served: dict[Alias, tuple[float, Reference]] = {}
        self._faults: dict[Alias, tuple[Reference, str]] = {}

    def resolve(self, text: str) -> Reference:
        """What ``dataset``, ``dataset@alias`` or ``dataset/version`` means at this moment.

        Raises:
            UnknownDatasetError, NoChampionError, UnknownNameError: It means nothing.
            BadInputError: It is none of the three.
        """
        self._check_known(text)
        return self.registry.resolve(text)

    def choose(self, text: str) -> Choice:
        """What a request that says this is served with.

        Raises:
            StudioError: It means nothing that can be served; see :meth:`resolve` and
                :meth:`PackCache.get`.
        """
        dataset = self._check_known(text)
        if "/" in text:
            return Choice(self.packs.get(self.registry.resolve(text)))
        alias = (dataset, CHAMPION if text == dataset else text.partition("@")[2])
        aliases, moved = self.registry.read_aliases(dataset)
        version = aliases.get(alias[1])
        wanted = self.registry.resolve(text) if version is None else Reference(dataset, version)
        try:
            checkpoint = self._read(wanted)
        except DamagedError as error:
            return Choice(self._before(alias, wanted, error), wanted, alias, moved)
        with self._lock:
            self._faults.pop(alias, None)
        return Choice(checkpoint, None, alias, moved)

    def made(self, choice: Choice) -> None:
        """A mask has been made with it; the first after a move ends a swap."""
        if choice.alias is None or choice.instead_of is not None:
            return
        now = (choice.moved, choice.checkpoint.reference)
        with self._lock:
            before = self._served.get(choice.alias)
            # A request from before a move may end after one from behind it.
            if before is not None and (before[0] > now[0] or before == now):
                return
            self._served[choice.alias] = now
        if before is not None and before[1] != now[1]:
            self._events.swap(max(time.time() - choice.moved, 0.0))

    def faults(self) -> list[str]:
        """What is wrong with versions that aliases name, for those who run the service."""
        with self._lock:
            return [
                f"{dataset}@{alias} means {reference}, which is damaged: {fault}"
                for (dataset, alias), (reference, fault) in sorted(self._faults.items())
            ]

    def _check_known(self, text: str) -> str:
        dataset = dataset_of(text)
        if dataset and not self.registry.has(dataset):
            have = self.registry.datasets()
            raise UnknownDatasetError(
                f"no dataset {dataset!r}; there are: {', '.join(have[:20]) or 'none yet'}"
            )
        if text == dataset and CHAMPION not in self.registry.aliases(dataset):
            versions = self.registry.versions(dataset)
            raise NoChampionError(
                f"dataset {dataset!r} has no champion; name a version such as {dataset}/{versions[-1]}, "
                "or leave dataset out for zero-shot"
            )
        return dataset

    def _read(self, reference: Reference) -> ServedCheckpoint:
        try:
            return self.packs.get(reference)
        except UnknownNameError as error:
            raise DamagedError(f"an alias names {reference}, but its folder is missing") from error

    def _before(self, alias: Alias, wanted: Reference, fault: DamagedError) -> ServedCheckpoint:
        """The newest version before the damaged one that the alias meant and that can be read."""
        with self._lock:
            known = self._faults.get(alias)
            self._faults[alias] = (wanted, str(fault))
        if known is None or known[0] != wanted:
            logger.error("%s@%s names a damaged version: %s", *alias, fault)
            self._events.damaged()
        moves = [move for move in self.registry.history(alias[0]) if move.alias == alias[1]]
        for version in reversed(trail_of(moves, wanted.version)):
            if version == wanted.version:
                continue
            try:
                return self._read(Reference(alias[0], version))
            except StudioError:
                logger.warning("%s/%s cannot stand in for it either", alias[0], version)
        raise fault
