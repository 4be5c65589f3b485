"""Which checkpoint versions may go: old candidates that never served."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from models_store.checkpoints import read_config
from models_store.errors import BadInputError
from models_store.registry import CHAMPION, Reference, Registry


@dataclass(frozen=True, kw_only=True)
class Retention:
    """How long candidates stay.

    Attributes:
        keep: The newest so many versions of a dataset stay.
        days: Younger versions stay.
    """

    keep: int = 10
    days: float = 30.0

    def check(self) -> None:
        """Raise BadInputError for values outside what is accepted."""
        if self.keep < 1:
            raise BadInputError(f"keep {self.keep} must be at least 1: the newest version stays")
        if self.days < 0:
            raise BadInputError(f"days {self.days} must not be negative")


def removable(
    registry: Registry, dataset: str, retention: Retention, *, now: datetime, pinned: Collection[str] = ()
) -> list[Reference]:
    """The versions of a dataset that retention lets go, oldest first.

    What an alias means, what ever was champion, and what is pinned stays whatever its age, so that
    every answer that was ever given can be made again.

    Args:
        registry: The registry.
        dataset: The dataset.
        retention: The rule.
        now: The moment, in UTC.
        pinned: Versions that stay in any case.
    """
    retention.check()
    versions = registry.versions(dataset)
    served = {move.version for move in registry.history(dataset) if move.alias == CHAMPION}
    needed = served | set(registry.aliases(dataset).values()) | set(pinned)
    oldest = now - timedelta(days=retention.days)
    return [
        reference
        for reference in (Reference(dataset, version) for version in versions[: -retention.keep])
        if reference.version not in needed and read_config(registry.folder(reference)).created < oldest
    ]
