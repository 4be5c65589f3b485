"""``checkpoints export`` and ``import`` with folders and zip files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints_cli import Cli
from serving import publish, tree

from models_store.errors import BadInputError, DamagedError
from models_store.registry import Reference
from models_store.vlsm import FrozenVLSM
from server.engine import Engine


@pytest.fixture
def here(tiny: FrozenVLSM, tmp_path: Path) -> Cli:
    here = Cli(tmp_path / "here")
    publish(here.registry, tiny, "busi", "coop")
    here.text("promote", "busi/v0001", "--reason", "first")
    return here


@pytest.fixture
def there(tmp_path: Path) -> Cli:
    return Cli(tmp_path / "there")


@pytest.mark.parametrize(
    ("name", "options"), [("out", []), ("out.zip", []), ("out", ["--format", "zip"]), ("out.zip", ["--json"])]
)
def test_carried_to_another_machine(
    here: Cli, there: Cli, tmp_path: Path, name: str, options: list[str]
) -> None:
    out = tmp_path / name
    said = here.text("export", "busi", str(out), *options)
    assert str(out) in said
    assert out.is_dir() == (name == "out" and not options)
    assert there.json("import", str(out), "--dataset", "breast") == {
        "reference": "breast/v0001",
        "new": True,
        "champion": False,
    }
    assert tree(there.registry.folder(Reference("breast", "v0001"))) == tree(
        here.registry.folder(Reference("busi", "v0001"))
    )


def test_an_export_says_what_it_holds(here: Cli, tmp_path: Path) -> None:
    assert "pass it on only where you may" in here.text("export", "busi", str(tmp_path / "all"))
    assert "pass it on" not in here.text("export", "busi", str(tmp_path / "hub"), "--format", "hub")


def test_promoted_and_served(here: Cli, there: Cli, tiny: FrozenVLSM, tmp_path: Path) -> None:
    out = tmp_path / "busi.zip"
    here.text("export", "busi", str(out))
    said = there.text("import", str(out), "--dataset", "breast", "--promote", "--author", "mk")
    assert said == "breast/v0001 was added\nit is the champion of breast\n"
    again = there.text("import", str(out), "--dataset", "breast", "--promote")
    assert (
        again == "breast/v0001 holds these files already; nothing was added\nit is the champion of breast\n"
    )
    (move,) = there.registry.history("breast")
    assert (move.author, move.reason) == ("mk", f"imported from {out}")
    picture = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    ours = Engine(vlsm=tiny, registry=here.registry).segment(picture, ["tumour"], "busi")
    theirs = Engine(vlsm=tiny, registry=there.registry).segment(picture, ["tumour"], "breast")
    assert torch.equal(ours.logits, theirs.logits)


def test_what_is_not_taken_in(here: Cli, there: Cli, tmp_path: Path) -> None:
    here.text("export", "busi", str(tmp_path / "out"))
    with pytest.raises(BadInputError, match="is there already"):
        here.text("export", "busi", str(tmp_path / "out"))
    (tmp_path / "out" / "eval.json").write_text("{}")
    with pytest.raises(DamagedError, match=r"out is damaged: eval\.json has digest"):
        there.text("import", str(tmp_path / "out"), "--dataset", "breast", "--promote")
    assert there.json("list") == []
    assert not there.data_dir.exists()
