"""Which backend is taken, and why."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from backend_cases import base, exported, graphs_cache
from store_bases import images, tiny_base, tiny_cris

from models_store.backends import choice
from models_store.backends.choice import choose_backend
from models_store.backends.gate import FIGURE, DiceFigure, keep_figure, known_figure, measure_dice
from models_store.backends.graphs import FORMAT
from models_store.backends.places import MANIFEST, graphs_folder
from models_store.backends.report import describe
from models_store.bases import embedded_digests, embedded_folder
from models_store.errors import BadInputError, DamagedError, MismatchError
from models_store.packs import ZERO_SHOT, segment_logits
from models_store.vlsm import FrozenVLSM

PASSING = DiceFigure(FORMAT, 0.995, 0.97, 20, 1, "drawings")


def claimed(torch_time: float) -> None:
    """Say how the race went when the graphs were made."""
    exported(hybrid=False)
    path = graphs_folder(graphs_cache(), base(hybrid=False), "fp32") / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | {"torch_time": torch_time}))


def test_auto_takes_the_faster() -> None:
    claimed(1.7)
    chosen = choose_backend(base(hybrid=False), cache=graphs_cache())
    assert chosen.backend.name == "onnx"
    assert "1.70 times as fast as torch" in chosen.backend.reason
    claimed(0.5)
    chosen = choose_backend(base(hybrid=False), cache=graphs_cache())
    assert chosen.backend.name == "torch"
    assert "2.00 times torch's time" in chosen.backend.reason


def test_auto_is_torch_where_graphs_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = choose_backend(tiny_base(), cache=tmp_path, may_build=False)
    assert (here.backend.name, list(tmp_path.iterdir())) == ("torch", [])
    assert "no ONNX graphs have been made yet" in here.backend.reason
    assert "no ONNX graphs are made of the family 'cris'" in (
        choose_backend(tiny_cris(), cache=tmp_path).backend.reason
    )
    assert "a GPU" in choose_backend(tiny_base(), cache=tmp_path, device="cuda").backend.reason
    monkeypatch.setattr(choice, "find_spec", lambda name: None if name == "onnxscript" else name)
    assert "onnxscript not installed" in choose_backend(tiny_base(), cache=tmp_path).backend.reason
    with pytest.raises(BadInputError, match=r"needs onnxscript: pip install"):
        choose_backend(tiny_base(), "onnx", cache=tmp_path)


def test_auto_is_torch_where_the_cache_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    chosen = choose_backend(tiny_base(), cache=tmp_path / "file")
    assert chosen.backend.name == "torch"
    assert "could not be used" in chosen.backend.reason


def test_torch_is_the_base_itself(tmp_path: Path) -> None:
    chosen = choose_backend(tiny_base(), "torch", cache=tmp_path)
    assert isinstance(chosen, FrozenVLSM)
    assert describe(chosen)["name"] == "torch"
    got, wanted = (
        segment_logits(vlsm, ZERO_SHOT, images(1), vlsm.tokenize(["liver"])) for vlsm in (chosen, tiny_base())
    )
    assert torch.equal(got, wanted)
    assert torch.equal(chosen.embed_phrase("liver"), tiny_base().embed_phrase("liver"))
    assert chosen.device == torch.device("cpu")


def test_unknown_wishes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no backend 'tpu'; there are: auto, torch, onnx, onnx-int8"):
        choose_backend(tiny_base(), "tpu", cache=tmp_path)
    with pytest.raises(BadInputError, match="no precision 'int4'"):
        choose_backend(tiny_base(), cache=tmp_path, precision="int4")
    with pytest.raises(MismatchError, match="of the family 'cris'"):
        choose_backend(tiny_cris(), "onnx", cache=tmp_path)


def test_8_bit_masks_are_served_only_where_they_are_known_to_be_good() -> None:
    model = base(hybrid=False)
    exported(hybrid=False, precision="int8")
    folder = graphs_folder(graphs_cache(), model, "int8")
    with pytest.raises(MismatchError, match="has not been measured"):
        choose_backend(model, "onnx-int8", cache=graphs_cache())
    keep_figure(folder, replace(PASSING, mean_dice=0.98))
    with pytest.raises(MismatchError, match=r"is 0\.9800 on 20 images \(drawings\)"):
        choose_backend(model, "onnx-int8", cache=graphs_cache())
    keep_figure(folder, PASSING)
    chosen = choose_backend(model, "onnx-int8", cache=graphs_cache())
    said = describe(chosen)
    assert (said["name"], said["int8_dice"], said["int8_images"]) == ("onnx-int8", 0.995, 20)
    wanted = segment_logits(model, ZERO_SHOT, images(2), model.tokenize(["liver", "a polyp"]))
    got = segment_logits(chosen, ZERO_SHOT, images(2), chosen.tokenize(["liver", "a polyp"]))
    assert not torch.allclose(got, wanted, atol=1e-4)
    assert torch.corrcoef(torch.stack([got.flatten(), wanted.flatten()]))[0, 1] > 0.98


def test_dice_is_measured_over_masks_that_show_anything() -> None:
    model = base(hybrid=False)
    (int8, _) = exported(hybrid=False, precision="int8")
    random = np.random.default_rng(0)
    samples = [(random.integers(0, 255, (50, 70, 3), dtype=np.uint8), f"thing {i}") for i in range(4)]
    same = measure_dice(model, exported(hybrid=False)[0], samples, "noise")
    assert same.images + same.empty == 4
    assert same.mean_dice > 0.999
    worse = measure_dice(model, int8, samples, "noise")
    assert 0.3 < worse.mean_dice < same.mean_dice
    assert worse.least_dice <= worse.mean_dice
    with pytest.raises(BadInputError, match="4 images gave no mask at all"):
        measure_dice(model, int8, samples, "noise", threshold=1.0)


def test_a_figure_of_this_machine_comes_before_the_shipped_one(tmp_path: Path) -> None:
    shipped = tmp_path / "shipped.json"
    assert known_figure("abc", tmp_path, shipped) is None
    shipped.write_text(json.dumps({"abc": asdict(PASSING)}))
    assert known_figure("abc", tmp_path, shipped) == PASSING
    assert known_figure("def", tmp_path, shipped) is None
    keep_figure(tmp_path, replace(PASSING, images=3))
    assert known_figure("abc", tmp_path, shipped) == replace(PASSING, images=3)
    keep_figure(tmp_path, replace(PASSING, format=FORMAT - 1))
    assert known_figure("abc", tmp_path, shipped) is None
    (tmp_path / FIGURE).write_text('{"mean": 1}')
    with pytest.raises(DamagedError, match="Dice figure cannot be used"):
        known_figure("abc", tmp_path, shipped)


def test_the_shipped_figures_are_of_embedded_models(tmp_path: Path) -> None:
    shipped = json.loads((embedded_folder() / "int8_dice.json").read_text())
    assert set(shipped) <= set(embedded_digests().values())
    for digest in shipped:
        assert known_figure(digest, tmp_path) is not None
