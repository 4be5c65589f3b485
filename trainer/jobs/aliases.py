"""Moving aliases by a person's word: the champion of a labelled dataset by the rule of its pin, on record."""

from __future__ import annotations

from collections.abc import Callable

from models_store.history import AliasMove
from models_store.registry import CHAMPION, Reference, Registry
from trainer.jobs.decisions import Decisions, check_pin
from trainer.jobs.outcomes import Kind
from trainer.labels.store import LabelStore, dataset_row

OpenStore = Callable[[], LabelStore | None]
"""Opens the labelled data; gives None where there are none. Asked only where a champion is to move."""


def move_alias(
    registry: Registry, store: OpenStore, reference: Reference, alias: str, *, by: str, reason: str
) -> AliasMove:
    """Let an alias mean a version.

    Args:
        registry: Whose alias.
        store: Opens the labelled data.
        reference: The version.
        alias: The alias.
        by: Who.
        reason: Why.

    Raises:
        UnknownNameError: The version is not there.
        BadInputError: The alias is not one of the known ones.
        ConflictError: The dataset is pinned to another version.
        DamagedError: The version does not verify.
        StoreBusyError: Whether it is pinned cannot be read now.
    """

    def move() -> AliasMove:
        return registry.move_alias(reference, alias, author=by, reason=reason)

    registry.folder(reference)
    labelled = _labelled(store, reference.dataset) if alias == CHAMPION else None
    if labelled is None:
        return move()
    moved, _ = Decisions(labelled, registry).record_move(
        reference.dataset, move, to=reference.version, kind=Kind.PROMOTED, by=by, reason=reason
    )
    return moved


def roll_back(
    registry: Registry, store: OpenStore, dataset: str, alias: str, *, by: str, reason: str
) -> AliasMove:
    """Let an alias mean what it meant before its last move; again goes back further.

    Args:
        registry: Whose alias.
        store: Opens the labelled data.
        dataset: The dataset.
        alias: The alias.
        by: Who.
        reason: Why.

    Raises:
        UnknownNameError: The dataset is not there.
        BadInputError: There is nothing to go back to.
        ConflictError: The dataset is pinned.
        DamagedError: The earlier version does not verify.
        StoreBusyError: Whether it is pinned cannot be read now.
    """

    def move() -> AliasMove:
        return registry.rollback(dataset, alias, author=by, reason=reason)

    labelled = _labelled(store, dataset) if alias == CHAMPION else None
    if labelled is None:
        return move()
    moved, _ = Decisions(labelled, registry).record_move(
        dataset, move, to=None, kind=Kind.ROLLED_BACK, by=by, reason=reason
    )
    return moved


def check_unpinned(store: OpenStore, dataset: str) -> None:
    """Raise ConflictError if a dataset is pinned, before work begins that is to end in a promotion."""
    labelled = _labelled(store, dataset)
    if labelled is not None:
        with labelled.database.reading() as session:
            check_pin(dataset_row(session, dataset), None)


def _labelled(store: OpenStore, dataset: str) -> LabelStore | None:
    """The store, if the dataset is one of its own: any other has no pin and no record to keep."""
    opened = store()
    return opened if opened is not None and dataset in opened.names() else None
