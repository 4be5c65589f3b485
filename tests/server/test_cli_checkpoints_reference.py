"""``checkpoints import --reference``: training checkpoints of the benchmark's own code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from serving import tree
from typer.testing import CliRunner

from models_store.errors import BadInputError, DamagedError, MismatchError
from models_store.registry import Reference, Registry
from models_store.vlsm import FrozenVLSM
from server.cli.checkpoints import app

LABELS = ("--label", "breast tumour", "--label", "lump")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """CoOp, depth 2, four tokens; with the bookkeeping that Lightning adds."""
    vectors = torch.randn(2, 4, 32, generator=torch.Generator().manual_seed(0))
    content = {"epoch": 3, "state_dict": {"net.context_learner.context_vectors": vectors}, "loops": {}}
    torch.save(content, tmp_path / "best.ckpt")
    return tmp_path / "best.ckpt"


def imported(tmp_path: Path, tiny_folder: Path, file: Path, *options: str) -> Any:
    arguments = [
        "import",
        str(file),
        "--reference",
        "--base",
        str(tiny_folder),
        "--dataset",
        "busi",
        *options,
    ]
    result = CliRunner().invoke(app, [*arguments, "--json", "--data-dir", str(tmp_path / "data")])
    if result.exception is not None:
        raise result.exception
    return json.loads(result.stdout)


def test_it_becomes_a_version(tmp_path: Path, tiny_folder: Path, tiny: FrozenVLSM, file: Path) -> None:
    told = imported(tmp_path, tiny_folder, file, *LABELS, "--promote", "--threshold", "0.35")
    assert told == {"reference": "busi/v0001", "new": True, "champion": True}
    registry = Registry(tmp_path / "data" / "registry")
    version = registry.read(Reference("busi", "v0001"))
    config = version.config
    assert (config.strategy, config.depth, config.n, config.threshold) == ("coop", 2, 4, 0.35)
    assert config.labels == ["breast tumour", "lump"]
    assert config.data["imported_from"] == "best.ckpt"
    vectors = torch.load(file, weights_only=True)["state_dict"]["net.context_learner.context_vectors"]
    assert version.pack.text is not None
    assert torch.equal(version.pack.text, vectors)
    version.check_base(tiny.spec)


def test_a_second_time_adds_nothing(tmp_path: Path, tiny_folder: Path, file: Path) -> None:
    imported(tmp_path, tiny_folder, file, *LABELS)
    before = tree(tmp_path / "data")
    assert imported(tmp_path, tiny_folder, file, *LABELS)["new"] is False
    assert tree(tmp_path / "data") == before
    other = imported(tmp_path, tiny_folder, file, "--label", "mass")
    assert (other["reference"], other["new"]) == ("busi/v0002", True)


def test_what_is_not_taken_in(tmp_path: Path, tiny_folder: Path, file: Path) -> None:
    with pytest.raises(BadInputError, match="needs the phrases it was trained on"):
        imported(tmp_path, tiny_folder, file)
    with pytest.raises(BadInputError, match="head 'mix' is asked for, but the file has no head"):
        imported(tmp_path, tiny_folder, file, *LABELS, "--head", "mix")
    with pytest.raises(BadInputError, match="there is no file"):
        imported(tmp_path, tiny_folder, tmp_path / "none.ckpt", *LABELS)
    entries = torch.load(file, weights_only=True)["state_dict"]
    torch.save({"state_dict": entries | {"net.model.decoder.x": torch.zeros(1)}}, tmp_path / "other.ckpt")
    with pytest.raises(MismatchError, match="are not in the base"):
        imported(tmp_path, tiny_folder, tmp_path / "other.ckpt", *LABELS)
    (tmp_path / "cut.ckpt").write_bytes(file.read_bytes()[:300])
    with pytest.raises(DamagedError):
        imported(tmp_path, tiny_folder, tmp_path / "cut.ckpt", *LABELS)
    assert not (tmp_path / "data").exists()
