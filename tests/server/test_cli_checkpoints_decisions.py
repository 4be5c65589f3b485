"""``checkpoints pin``, ``unpin``, ``reject`` and ``decisions``, and commands that a pin stops."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from checkpoints_cli import Cli
from job_parts import fill, store_at
from serving import publish

from models_store.errors import BadInputError, UnknownNameError
from models_store.registry import CHAMPION
from models_store.vlsm import FrozenVLSM
from trainer.jobs.decisions import Decisions
from trainer.labels.errors import ConflictError, UnknownLabelsError


@pytest.fixture
def bare(tiny: FrozenVLSM, tmp_path: Path) -> Cli:
    """Two versions without labelled data, the first of them champion."""
    cli = Cli(tmp_path / "data")
    first = publish(cli.registry, tiny, "toys", "coop")
    publish(cli.registry, tiny, "toys", "coop", seed=2)
    cli.registry.move_alias(first, CHAMPION, author="t", reason="first")
    return cli


@pytest.fixture
def cli(bare: Cli) -> Iterator[Cli]:
    """With labelled data, too."""
    store = store_at(bare.data_dir)
    fill(store, train=1, val=1)
    yield bare
    store.database.close()


def test_each_decision_has_an_author_and_a_reason(cli: Cli) -> None:
    cli.text("reject", "toys/v0002", "--reason", "misses [half]", "--author", "mk")
    cli.text("promote", "toys/v0002", "--reason", "it does not", "--author", "ann")
    assert cli.text("pin", "toys", "--reason", "a trial", "--author", "mk") == "toys is pinned to v0002\n"
    assert "no longer pinned to v0002" in cli.text("unpin", "toys", "--reason", "over", "--author", "mk")
    rolled = cli.json("rollback", "toys", "--reason", "worse", "--author", "ann")
    assert (rolled["kind"], rolled["version"]) == ("rollback", "v0001")
    found = cli.json("decisions", "toys")
    assert [(d["kind"], d["version"], d["champion"], d["author"], d["reason"]) for d in found] == [
        ("rolled_back", "v0001", "v0002", "ann", "worse"),
        ("unpinned", "v0002", "v0002", "mk", "over"),
        ("pinned", "v0002", "v0002", "mk", "a trial"),
        ("promoted", "v0002", "v0001", "ann", "it does not"),
        ("rejected", "v0002", "v0001", "mk", "misses [half]"),
    ]
    assert cli.json("decisions", "toys", "--limit", "1") == found[:1]
    table = cli.text("decisions", "toys")
    assert all(words in table for words in ("rolled back", "misses [half]", "v0001", "ann"))


def test_they_are_the_decisions_of_the_api(cli: Cli) -> None:
    printed = cli.json("pin", "toys", "--reason", "a trial")
    store = store_at(cli.data_dir)
    (kept,) = Decisions(store, cli.registry).newest("toys")
    store.database.close()
    assert (printed["id"], printed["author"]) == (kept.id, kept.author)
    assert kept.author


def test_a_pin_stops_every_command_that_moves_the_champion(cli: Cli, tiny: FrozenVLSM) -> None:
    cli.text("promote", "toys/v0002", "--reason", "better")
    cli.text("export", "toys/v0001", str(cli.data_dir / "old.zip"))
    publish(cli.registry, tiny, "other", "coop", seed=3)
    cli.text("export", "other/v0001", str(cli.data_dir / "new.zip"))
    cli.text("pin", "toys", "--reason", "a trial")
    for words in (
        ("promote", "toys/v0001", "--reason", "r"),
        ("rollback", "toys", "--reason", "r"),
        ("import", str(cli.data_dir / "old.zip"), "--dataset", "toys", "--promote"),
        ("import", str(cli.data_dir / "new.zip"), "--dataset", "toys", "--promote"),
    ):
        with pytest.raises(ConflictError, match="toys is pinned to v0002: unpin it"):
            cli.text(*words)
    assert cli.registry.aliases("toys") == {CHAMPION: "v0002"}
    assert cli.registry.versions("toys") == ["v0001", "v0002"]
    cli.text("promote", "toys/v0001", "--alias", "candidate", "--reason", "try")
    cli.text("unpin", "toys", "--reason", "over")
    cli.text("import", str(cli.data_dir / "new.zip"), "--dataset", "toys", "--promote")
    assert cli.registry.aliases("toys")[CHAMPION] == "v0003"
    newest = cli.json("decisions", "toys")[0]
    assert (newest["kind"], newest["version"]) == ("promoted", "v0003")
    assert newest["reason"].startswith("imported from")


def test_moving_aliases_needs_no_database_and_makes_none(bare: Cli) -> None:
    bare.text("promote", "toys/v0002", "--reason", "better")
    bare.text("rollback", "toys", "--reason", "worse")
    with pytest.raises(UnknownLabelsError, match="no labelled datasets yet"):
        bare.text("decisions", "toys")
    with pytest.raises(UnknownLabelsError, match="no labelled datasets yet"):
        bare.text("unpin", "toys", "--reason", "r")
    with pytest.raises(UnknownNameError, match="no dataset 'nope'"):
        bare.text("pin", "nope", "--reason", "r")
    with pytest.raises(UnknownNameError, match="no version 'v0009'"):
        bare.text("reject", "toys/v0009", "--reason", "r")
    assert not (bare.data_dir / "labels.db").exists()


def test_a_version_tuned_from_a_folder_can_be_decided_on(bare: Cli) -> None:
    bare.text("pin", "toys", "--reason", "a trial")
    with pytest.raises(ConflictError, match="pinned to v0001"):
        bare.text("promote", "toys/v0002", "--reason", "better")


def test_what_cannot_be_decided(cli: Cli, tiny: FrozenVLSM) -> None:
    with pytest.raises(ConflictError, match="is not pinned"):
        cli.text("unpin", "toys", "--reason", "r")
    with pytest.raises(ConflictError, match="is the champion; promote another"):
        cli.text("reject", "toys", "--reason", "r")
    for command, target in (("pin", "toys"), ("reject", "toys/v0002"), ("promote", "toys/v0002")):
        with pytest.raises(BadInputError, match="the reason is empty"):
            cli.text(command, target, "--reason", " ")
    publish(cli.registry, tiny, "fresh", "coop")
    with pytest.raises(UnknownNameError, match="no alias 'champion'"):
        cli.text("pin", "fresh", "--reason", "r")
    assert cli.json("decisions", "toys") == []
