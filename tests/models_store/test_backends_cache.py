"""Graphs on disk: kept, told apart, rebuilt when damaged, refused when they differ."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from backend_cases import base, exported, graphs_cache
from store_bases import images, tiny_base

from models_store.backends import building
from models_store.backends.building import open_graphs, race, read_manifest, write_graphs
from models_store.backends.clipseg_graphs import DecoderSteps
from models_store.backends.places import MANIFEST, graphs_folder, is_built
from models_store.errors import DamagedError, MismatchError
from models_store.packs import ZERO_SHOT, segment_logits


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that graphs are exported to from here on."""
    calls: list[Path] = []

    def counting(folder: Path, frozen: object) -> building.Manifest:
        calls.append(folder)
        return write_graphs(folder, frozen)  # type: ignore[arg-type]

    monkeypatch.setattr(building, "write_graphs", counting)
    return calls


def test_graphs_are_made_once_and_rebuilt_when_damaged(written: list[Path]) -> None:
    first, manifest = exported(hybrid=False)
    written.clear()
    model = base(hybrid=False)
    again, same = open_graphs(graphs_cache(), model)
    assert same == manifest
    assert written == []
    folder = graphs_folder(graphs_cache(), model, "fp32")
    text = folder / "text.onnx"
    text.write_bytes(text.read_bytes()[:-1])
    with pytest.raises(DamagedError, match=r"not as written: text\.onnx"):
        read_manifest(folder)
    mended, _ = open_graphs(graphs_cache(), model)
    assert len(written) == 1
    assert read_manifest(folder).files.keys() == manifest.files.keys()
    outputs = [
        segment_logits(vlsm, ZERO_SHOT, images(1), vlsm.tokenize(["liver"]))
        for vlsm in (first, again, mended)
    ]
    assert torch.equal(outputs[0], outputs[1])
    torch.testing.assert_close(outputs[0], outputs[2], rtol=0, atol=1e-5)
    assert {p.name for p in graphs_cache().iterdir() if p.name.startswith(".aside")} == set()


@pytest.mark.parametrize("content", ["", "[]", '{"format": 1}', '{"files": 3}'])
def test_a_damaged_manifest_is_no_manifest(tmp_path: Path, content: str) -> None:
    (tmp_path / MANIFEST).write_text(content)
    with pytest.raises(DamagedError):
        read_manifest(tmp_path)


def test_graphs_of_another_format_are_not_used(tmp_path: Path) -> None:
    _, manifest = exported(hybrid=False)
    (tmp_path / MANIFEST).write_text(json.dumps(vars(manifest) | {"format": 0, "files": {}}))
    with pytest.raises(DamagedError, match="format"):
        read_manifest(tmp_path)


def test_weights_configuration_and_size_tell_graphs_apart(tmp_path: Path) -> None:
    one = tiny_base()
    other = copy.copy(one)
    other.spec = replace(one.spec, image_size=96)
    renamed = copy.copy(one)
    renamed.spec = replace(one.spec, name="another")
    reconfigured = copy.deepcopy(one)
    reconfigured.network.config.text_config.eos_token_id = 2
    folders = [graphs_folder(tmp_path, model, "fp32") for model in (one, other, renamed, reconfigured)]
    assert folders[0] == folders[2]
    assert len(set(folders)) == 3
    assert not is_built(tmp_path, one)


def test_a_graph_that_differs_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = DecoderSteps.forward

    def wrong(
        self: DecoderSteps, cond: torch.Tensor, *maps: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        grid, logits = right(self, cond, *maps)
        return grid, logits * 1.01

    monkeypatch.setattr(DecoderSteps, "forward", wrong)
    with pytest.raises(MismatchError, match=r"differ from the model by .*; use the torch backend"):
        open_graphs(tmp_path, tiny_base())
    assert [p for p in tmp_path.iterdir() if p.is_dir()] == []


def test_the_race_takes_each_ones_best_time() -> None:
    # Three rounds of start and end for the model, then the other: 4, 2, 3 seconds against 1, 2, 3.
    moments = iter([0, 4, 4, 5, 5, 7, 7, 9, 9, 12, 12, 15])
    assert race(tiny_base(), tiny_base(), clock=lambda: float(next(moments))) == 2.0
