"""Aliases moved by people: pins hold the champion, and moves of it are on record."""

from __future__ import annotations

from pathlib import Path

import pytest
from published_versions import published

from models_store.errors import BadInputError, UnknownNameError
from models_store.registry import CANDIDATE, CHAMPION, Reference, Registry
from models_store.vlsm import FrozenVLSM
from trainer.jobs.aliases import check_unpinned, move_alias, roll_back
from trainer.jobs.decisions import Decisions
from trainer.jobs.outcomes import Kind
from trainer.labels.errors import ConflictError
from trainer.labels.store import LabelStore

V1, V2 = Reference("toys", "v0001"), Reference("toys", "v0002")
WHY = {"by": "mk", "reason": "seen on ten scans"}


@pytest.fixture
def registry(tiny: FrozenVLSM, tmp_path: Path) -> Registry:
    """Two versions of a labelled dataset, of which the first is champion, and of one without labels."""
    registry = Registry(tmp_path / "registry")
    for dataset in ("toys", "lungs"):
        for seed in (1, 2):
            published(registry, tiny, dataset, seed=seed)
        registry.move_alias(Reference(dataset, "v0001"), CHAMPION, author="ann", reason="first")
    return registry


@pytest.fixture
def decisions(store: LabelStore, registry: Registry) -> Decisions:
    return Decisions(store, registry)


def test_moves_of_the_champion_are_on_record(
    registry: Registry, store: LabelStore, decisions: Decisions
) -> None:
    moved = move_alias(registry, lambda: store, V2, CHAMPION, **WHY)
    assert (moved.kind, moved.previous, moved.version) == ("move", "v0001", "v0002")
    back = roll_back(registry, lambda: store, "toys", CHAMPION, by="ann", reason="worse")
    assert (back.kind, back.previous, back.version) == ("rollback", "v0002", "v0001")
    found = [(d.kind, d.version, d.champion, d.author, d.reason) for d in decisions.newest("toys")]
    assert found == [
        (Kind.ROLLED_BACK, "v0001", "v0002", "ann", "worse"),
        (Kind.PROMOTED, "v0002", "v0001", "mk", "seen on ten scans"),
    ]


def test_a_pin_holds_the_champion_and_leaves_the_candidate(
    registry: Registry, store: LabelStore, decisions: Decisions
) -> None:
    move_alias(registry, lambda: store, V2, CHAMPION, **WHY)
    decisions.pin("toys", by="mk", reason="in a trial")
    before = registry.history("toys")
    with pytest.raises(ConflictError, match="toys is pinned to v0002: unpin it before"):
        move_alias(registry, lambda: store, V1, CHAMPION, **WHY)
    with pytest.raises(ConflictError, match="toys is pinned to v0002: unpin it before"):
        roll_back(registry, lambda: store, "toys", CHAMPION, **WHY)
    with pytest.raises(ConflictError, match="toys is pinned to v0002"):
        check_unpinned(lambda: store, "toys")
    assert registry.history("toys") == before
    assert [d.kind for d in decisions.newest("toys")] == [Kind.PINNED, Kind.PROMOTED]
    move_alias(registry, lambda: store, V1, CANDIDATE, **WHY)
    move_alias(registry, lambda: store, V2, CANDIDATE, **WHY)
    roll_back(registry, lambda: store, "toys", CANDIDATE, **WHY)
    assert registry.aliases("toys") == {CHAMPION: "v0002", CANDIDATE: "v0001"}
    decisions.unpin("toys", by="mk", reason="over")
    check_unpinned(lambda: store, "toys")
    assert roll_back(registry, lambda: store, "toys", CHAMPION, **WHY).version == "v0001"


def test_the_pinned_version_itself_may_become_champion_again(
    registry: Registry, store: LabelStore, decisions: Decisions
) -> None:
    decisions.pin("toys", by="mk", reason="in a trial")
    # As one does who writes into the registry without asking.
    registry.move_alias(V2, CHAMPION, author="t", reason="by hand")
    move_alias(registry, lambda: store, V1, CHAMPION, **WHY)
    assert registry.aliases("toys")[CHAMPION] == "v0001"


def test_a_dataset_without_labels_has_no_record(registry: Registry, store: LabelStore) -> None:
    other = Reference("lungs", "v0002")
    check_unpinned(lambda: store, "lungs")
    assert move_alias(registry, lambda: store, other, CHAMPION, **WHY).version == "v0002"
    assert roll_back(registry, lambda: store, "lungs", CHAMPION, **WHY).version == "v0001"
    assert store.names() == ["bones", "toys"]


def test_without_labelled_data_aliases_move_as_they_are_told(registry: Registry) -> None:
    assert move_alias(registry, lambda: None, V2, CHAMPION, **WHY).version == "v0002"
    assert roll_back(registry, lambda: None, "toys", CHAMPION, **WHY).version == "v0001"


def test_what_cannot_be_leaves_no_record(registry: Registry, store: LabelStore, decisions: Decisions) -> None:
    with pytest.raises(UnknownNameError, match="no version 'v0009'"):
        move_alias(registry, lambda: store, Reference("toys", "v0009"), CHAMPION, **WHY)
    with pytest.raises(BadInputError, match="no earlier version"):
        roll_back(registry, lambda: store, "toys", CHAMPION, **WHY)
    with pytest.raises(BadInputError, match="the reason is empty"):
        move_alias(registry, lambda: store, V2, CHAMPION, by="mk", reason=" ")
    with pytest.raises(BadInputError, match="no alias 'king'"):
        move_alias(registry, lambda: store, V2, "king", **WHY)
    assert decisions.newest("toys") == []
    assert registry.aliases("toys") == {CHAMPION: "v0001"}
