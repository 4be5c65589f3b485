"""The registry: versions, aliases, their history, and names from outside."""

from __future__ import annotations

import json
import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from store_bases import new_checkpoint, tiny_base

from models_store.errors import BadInputError, DamagedError, UnknownNameError
from models_store.history import AliasMove
from models_store.registry import Reference, Registry

V1, V2, V3 = (Reference("busi", f"v000{i}") for i in (1, 2, 3))
HOSTILE = [
    "../busi",
    "..",
    ".",
    "",
    "BUSI",
    "busi/..",
    "a b",
    "busi\n",
    "/etc",
    "-x",
    ".hidden",
    "é",
    "x" * 65,
    "busi\0",
]


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """Three versions of ``busi``; the registry's folder does not exist before."""
    registry = Registry(tmp_path / "data" / "registry")
    for seed in range(3):
        registry.publish("busi", new_checkpoint(tiny_base(), seed=seed))
    return registry


def move(registry: Registry, *references: Reference, alias: str = "champion") -> None:
    for reference in references:
        registry.move_alias(reference, alias, author="ana", reason="better")


def back(registry: Registry, alias: str = "champion") -> AliasMove:
    return registry.rollback("busi", alias, author="ben", reason="worse")


def history_of(*moves: tuple[str, str | None, str]) -> str:
    """Lines of a history from (kind, previous, version)."""
    lines = (
        AliasMove(
            alias="champion", kind=k, previous=p, version=v, author="a", reason="r", at=datetime.now(UTC)
        )
        for k, p, v in moves
    )
    return "".join(line.model_dump_json() + "\n" for line in lines)


def test_an_empty_registry_is_empty(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "none")
    assert registry.datasets() == []
    with pytest.raises(UnknownNameError, match="no dataset 'busi'; there are none"):
        registry.versions("busi")
    assert not (tmp_path / "none").exists()


def test_versions_count_up_and_verify(registry: Registry) -> None:
    assert registry.versions("busi") == ["v0001", "v0002", "v0003"]
    digests = {registry.read(r).pack.digest for r in (V1, V2, V3)}
    assert len(digests) == 3
    assert registry.publish("other", new_checkpoint(tiny_base())) == Reference("other", "v0001")
    assert registry.datasets() == ["busi", "other"]
    assert str(V1) == "busi/v0001"


def test_versions_pass_ten_thousand(registry: Registry) -> None:
    versions = registry.root / "busi" / "versions"
    (versions / "v0003").rename(versions / "v9999")
    assert registry.publish("busi", new_checkpoint(tiny_base())).version == "v10000"
    assert registry.versions("busi")[-2:] == ["v9999", "v10000"]
    assert registry.publish("busi", new_checkpoint(tiny_base())).version == "v10001"


def test_other_things_in_the_folders_are_no_versions(registry: Registry) -> None:
    for name in ("v1", "v00x1", ".aside-x", "v0001.bak", "v٠٠٠٩"):
        (registry.root / "busi" / "versions" / name).mkdir()
    (registry.root / "Upper").mkdir()
    (registry.root / "empty").mkdir()
    (registry.root / "file").touch()
    assert registry.versions("busi") == ["v0001", "v0002", "v0003"]
    assert registry.datasets() == ["busi"]
    with pytest.raises(UnknownNameError, match="there are busi"):
        registry.versions("empty")


def test_everyone_may_read(registry: Registry) -> None:
    """A registry may be shared: modes follow the umask instead of being private."""
    move(registry, V1)
    mask = os.umask(0)
    os.umask(mask)
    for path in registry.root.rglob("*"):
        wanted = (0o777 if path.is_dir() else 0o666) & ~mask
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path


def test_aliases_move_and_leave_a_history(registry: Registry) -> None:
    assert registry.aliases("busi") == {}
    assert registry.history("busi") == []
    before = datetime.now(UTC)
    first = registry.move_alias(V1, "candidate", author="ana", reason="first\nline & ümlaut")
    move(registry, V2, V3)
    assert registry.aliases("busi") == {"candidate": "v0001", "champion": "v0003"}
    assert [(m.alias, m.kind, m.previous, m.version) for m in registry.history("busi")] == [
        ("candidate", "move", None, "v0001"),
        ("champion", "move", None, "v0002"),
        ("champion", "move", "v0002", "v0003"),
    ]
    assert registry.history("busi")[0] == first
    assert (first.author, first.reason) == ("ana", "first\nline & ümlaut")
    assert before <= first.at <= datetime.now(UTC)


def test_rollback_goes_back_and_again_further(registry: Registry) -> None:
    move(registry, V1, V2)
    move(registry, V1, alias="candidate")
    move(registry, V3)
    assert (back(registry).version, registry.aliases("busi")["champion"]) == ("v0002", "v0002")
    last = back(registry)
    assert (last.kind, last.previous, last.version, last.author) == ("rollback", "v0002", "v0001", "ben")
    with pytest.raises(BadInputError, match="no earlier version"):
        back(registry)
    assert registry.aliases("busi") == {"champion": "v0001", "candidate": "v0001"}
    move(registry, V3)
    assert back(registry).version == "v0001"


def test_moving_to_the_same_version_is_nothing_to_go_back_to(registry: Registry) -> None:
    move(registry, V1, V2, V2)
    assert back(registry).version == "v0001"


@pytest.mark.parametrize("moves", [0, 1])
def test_nothing_to_go_back_to(registry: Registry, moves: int) -> None:
    move(registry, *[V1][:moves])
    with pytest.raises(BadInputError, match="no earlier version"):
        back(registry)


@pytest.mark.parametrize(
    ("recorded", "now", "expected"),
    [
        ([("move", None, "v0001"), ("move", "v0001", "v0002"), ("move", "v0002", "v0003")], "v0002", "v0001"),
        (
            [("move", None, "v0001"), ("move", "v0001", "v0002"), ("rollback", "v0002", "v0001")],
            "v0002",
            "v0001",
        ),
        ([("move", None, "v0001"), ("move", "v0001", "v0002"), ("move", "v0001", "v0003")], "v0003", "v0001"),
        (
            [
                ("move", None, "v0001"),
                ("move", "v0001", "v0002"),
                ("rollback", "v0002", "v0001"),
                ("move", "v0002", "v0003"),
            ],
            "v0003",
            "v0002",
        ),
        ([("move", None, "v0002"), ("move", None, "v0001"), ("move", "v0001", "v0003")], "v0003", "v0001"),
    ],
    ids=["last move", "last rollback", "earlier move", "earlier rollback", "first move"],
)
def test_rollback_passes_over_records_whose_move_never_came(
    registry: Registry, recorded: list[tuple[str, str | None, str]], now: str, expected: str
) -> None:
    """A crash after the record and before the alias: such a move never happened."""
    folder = registry.root / "busi"
    (folder / "history.jsonl").write_text(history_of(*recorded))
    (folder / "aliases.json").write_text(json.dumps({"champion": now}))
    assert back(registry).version == expected


def test_a_torn_line_does_not_spoil_the_history(registry: Registry) -> None:
    move(registry, V1)
    path = registry.root / "busi" / "history.jsonl"
    path.write_bytes(path.read_bytes() + path.read_bytes()[:40])
    assert len(registry.history("busi")) == 1
    move(registry, V2)
    assert [m.version for m in registry.history("busi")] == ["v0001", "v0002"]
    assert back(registry).version == "v0001"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"champion": 1}', "null"])
def test_damaged_aliases_are_said_to_be(registry: Registry, content: str) -> None:
    (registry.root / "busi" / "aliases.json").write_text(content)
    with pytest.raises(DamagedError, match=r"aliases\.json"):
        registry.resolve("busi")


def test_resolve(registry: Registry) -> None:
    move(registry, V2)
    move(registry, V3, alias="candidate")
    for text, reference in {
        "busi": V2, "busi@champion": V2, "busi@candidate": V3, "busi/v0001": V1, "busi/v0003": V3,
    }.items():  # fmt: skip
        assert registry.resolve(text) == reference


@pytest.mark.parametrize(
    "text", ["", "/", "@", "busi/", "busi@", "busi/v0001@champion", "busi/v/1", "a@b@c", "/v0001", "@x"]
)
def test_resolve_takes_three_forms(registry: Registry, text: str) -> None:
    with pytest.raises(BadInputError, match="write dataset, dataset@alias or dataset/version"):
        registry.resolve(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bus", "no dataset 'bus'; there are busi"),
        ("busi", "no alias 'champion'; it has candidate"),
        ("busi@best", "no alias 'best'; it has candidate"),
        ("busi/v0009", "no version 'v0009'; it has v0001, v0002, v0003"),
        ("busi/..", "no version '..'; it has v0001"),
        ("busi/versions", "no version 'versions'"),
    ],
)
def test_unknown_things_list_what_exists(registry: Registry, text: str, message: str) -> None:
    move(registry, V1, alias="candidate")
    with pytest.raises(UnknownNameError, match=message):
        registry.resolve(text)


def test_an_alias_of_a_version_that_is_gone(registry: Registry) -> None:
    move(registry, V3)
    (registry.root / "busi" / "versions" / "v0003").rename(registry.root / "gone")
    with pytest.raises(UnknownNameError, match="no version 'v0003'; it has v0001, v0002"):
        registry.resolve("busi")


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_reach_no_file(registry: Registry, name: str) -> None:
    outside = sorted(p for p in registry.root.parent.parent.rglob("*"))
    with pytest.raises(BadInputError, match="not acceptable"):
        registry.publish(name, new_checkpoint(tiny_base()))
    for use in (registry.versions, registry.aliases, registry.history):
        with pytest.raises(UnknownNameError, match="no dataset"):
            use(name)
    with pytest.raises(UnknownNameError):
        registry.move_alias(Reference(name, "v0001"), "champion", author="", reason="")
    with pytest.raises(UnknownNameError):
        registry.move_alias(Reference("busi", name), "champion", author="", reason="")
    for alias in (name, "best"):
        with pytest.raises(BadInputError, match="there are champion, candidate"):
            registry.move_alias(V1, alias, author="", reason="")
        with pytest.raises(BadInputError, match="there are champion, candidate"):
            registry.rollback("busi", alias, author="", reason="")
    with pytest.raises((BadInputError, UnknownNameError)):
        registry.resolve(name)
    assert sorted(registry.root.parent.parent.rglob("*")) == outside


def test_no_alias_means_a_damaged_version(registry: Registry) -> None:
    move(registry, V1, V2)
    for version in ("v0001", "v0003"):
        (registry.root / "busi" / "versions" / version / "eval.json").write_text("{}")
    for attempt in (lambda: move(registry, V3), lambda: back(registry)):
        with pytest.raises(DamagedError, match=r"eval\.json has digest"):
            attempt()
    assert registry.aliases("busi") == {"champion": "v0002"}
    assert len(registry.history("busi")) == 2
