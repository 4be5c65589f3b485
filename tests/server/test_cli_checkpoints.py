from __future__ import annotations

from pathlib import Path

import pytest
from checkpoints_cli import Cli
from serving import publish

from models_store.errors import BadInputError, DamagedError, UnknownNameError
from models_store.registry import CHAMPION, Reference
from models_store.vlsm import FrozenVLSM


@pytest.fixture
def cli(tiny: FrozenVLSM, tmp_path: Path) -> Cli:
    cli = Cli(tmp_path)
    for strategy in ("vpt", "coop"):
        publish(cli.registry, tiny, "busi", strategy)
    return cli


def test_an_empty_registry(tmp_path: Path) -> None:
    assert Cli(tmp_path / "none").json("list") == []
    assert not (tmp_path / "none").exists()


def test_list(cli: Cli, tiny: FrozenVLSM) -> None:
    cli.text("promote", "busi/v0002", "--reason", "first")
    listed = cli.json("list")
    assert [(info["reference"], info["strategy"], info["aliases"]) for info in listed] == [
        ("busi/v0001", "vpt", []),
        ("busi/v0002", "coop", ["champion"]),
    ]
    assert cli.json("list", "--dataset", "busi") == listed
    row = next(line for line in cli.text("list").splitlines() if "busi/v0002" in line)
    assert all(cell in row for cell in ("champion", "coop", tiny.spec.name, "ok"))
    with pytest.raises(UnknownNameError, match="no dataset 'nope'"):
        cli.text("list", "--dataset", "nope")


def test_show(cli: Cli) -> None:
    info = cli.json("show", "busi/v0001")
    assert (info["strategy"], info["depth"], info["evaluation"]["dice"]) == ("vpt", 2, 0.5)
    assert "breast tumour" in cli.text("show", "busi/v0001")
    with pytest.raises(UnknownNameError, match="no alias 'champion'"):
        cli.text("show", "busi")


def test_promote_rollback_and_history(cli: Cli) -> None:
    assert (
        cli.text("promote", "busi/v0001", "--reason", "first [one]", "--author", "mk")
        == "champion: nothing -> v0001\n"
    )
    assert cli.json("promote", "busi/v0002", "--reason", "better", "--author", "mk")["previous"] == "v0001"
    assert cli.text("promote", "busi/v0001", "--alias", "candidate", "--reason", "try").startswith(
        "candidate:"
    )
    assert cli.text("rollback", "busi", "--reason", "worse") == "champion: v0002 -> v0001\n"
    assert cli.registry.aliases("busi") == {"champion": "v0001", "candidate": "v0001"}
    moves = cli.json("history", "busi")
    assert [(m["alias"], m["kind"], m["version"]) for m in moves] == [
        ("champion", "move", "v0001"),
        ("champion", "move", "v0002"),
        ("candidate", "move", "v0001"),
        ("champion", "rollback", "v0001"),
    ]
    assert moves[0]["author"] == "mk"
    assert moves[3]["author"]
    assert "first [one]" in cli.text("history", "busi")


def test_what_cannot_be_promoted(cli: Cli) -> None:
    with pytest.raises(BadInputError, match="no alias 'king'"):
        cli.text("promote", "busi/v0001", "--alias", "king", "--reason", "r")
    with pytest.raises(UnknownNameError, match="no version 'v0009'"):
        cli.text("promote", "busi/v0009", "--reason", "r")
    with pytest.raises(BadInputError, match="no earlier version"):
        cli.text("rollback", "busi", "--reason", "r")
    assert cli.registry.history("busi") == []


def test_verify(cli: Cli) -> None:
    digest = cli.registry.read(Reference("busi", "v0001")).config.pack_digest
    assert cli.json("verify", "busi/v0001") == {"reference": "busi/v0001", "verified": True, "digest": digest}
    assert digest in cli.text("verify", "busi/v0001")
    (cli.registry.folder(Reference("busi", "v0001")) / "README.md").write_text("changed")
    with pytest.raises(DamagedError, match=r"README.md has digest"):
        cli.text("verify", "busi/v0001")
    assert "README.md has digest" in cli.json("list")[0]["fault"]
    assert CHAMPION not in cli.registry.aliases("busi")
