"""Loading base models from folders, and every way a folder can be wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from store_bases import PHRASES, images
from tiny_models import tiny_config, write_base

from models_store.bases import embedded_digests, embedded_folder, load_base
from models_store.clipseg.model import FrozenCLIPSeg
from models_store.digests import file_digest
from models_store.errors import DamagedError, MismatchError, UnknownNameError
from models_store.names import DEFAULT_BASE
from models_store.packs import ZERO_SHOT, segment_logits

WEIGHTS = "model.safetensors"


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny base that a test may spoil."""
    return shutil.copytree(tiny_folder, tmp_path / "spoiled")


def logits(base: FrozenCLIPSeg) -> torch.Tensor:
    return segment_logits(base, ZERO_SHOT, images(3), base.tokenize(PHRASES))


def edit(path: Path, **fields: Any) -> None:
    content = json.loads(path.read_text()) | fields
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not ...}))


def pickle_weights(folder: Path, **more: torch.Tensor) -> None:
    torch.save(load_file(folder / WEIGHTS) | more, folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()


def test_a_folder_says_what_it_is(folder: Path) -> None:
    base = load_base(str(folder))
    spec = base.spec
    assert (spec.name, spec.family, spec.digest) == ("spoiled", "clipseg", file_digest(folder / WEIGHTS))
    assert (spec.image_size, spec.patch_size, spec.grid_channels, spec.projection_dim) == (64, 16, 16, 24)
    assert (spec.text_width, spec.text_layers, spec.text_positions) == (32, 4, 77)
    assert (spec.vision_width, spec.vision_layers, spec.last_vision_layer, spec.max_depth) == (48, 4, 3, 4)
    assert (spec.mean, spec.std) == ((0.5,) * 3, (0.5,) * 3)
    assert spec.resample == 2, "CLIPSeg's processor resizes bilinearly where its file does not say"
    assert spec.preprocessing == {"image_size": 64, "mean": [0.5] * 3, "std": [0.5] * 3, "resample": 2}


@pytest.mark.parametrize("hybrid", [False, True])
def test_loading_twice_gives_the_same(tmp_path: Path, hybrid: bool) -> None:
    written = str(write_base(tmp_path / "base", tiny_config(hybrid=hybrid)))
    first = load_base(written)
    assert torch.equal(logits(first), logits(load_base(written, digest=first.spec.digest)))


def test_embedded_models_verify() -> None:
    digests = embedded_digests()
    assert DEFAULT_BASE in digests
    for name, digest in digests.items():
        assert file_digest(embedded_folder() / name / WEIGHTS) == digest
        base = load_base(name)
        assert (base.spec.name, base.spec.digest) == (name, digest)
        with pytest.raises(MismatchError, match=digest):
            load_base(name, digest="0" * 64)


def test_half_precision_weights_become_single(folder: Path) -> None:
    halves = {k: v.half() for k, v in load_file(folder / WEIGHTS).items()}
    save_file(halves, folder / WEIGHTS)
    assert {p.dtype for p in load_base(str(folder)).network.parameters()} == {torch.float32}


def test_pickled_weights_where_there_are_no_others(folder: Path) -> None:
    expected = logits(load_base(str(folder)))
    pickle_weights(folder)
    base = load_base(str(folder))
    assert base.spec.digest == file_digest(folder / "pytorch_model.bin")
    assert torch.equal(logits(base), expected)


def test_index_buffers_of_older_versions_are_passed_over(folder: Path) -> None:
    expected = logits(load_base(str(folder)))
    pickle_weights(
        folder,
        **{
            "clip.text_model.embeddings.position_ids": torch.arange(77)[None],
            "clip.vision_model.embeddings.position_ids": torch.arange(17)[None],
        },
    )
    assert torch.equal(logits(load_base(str(folder))), expected)


@pytest.mark.parametrize(
    "size",
    [64, {"height": 64, "width": 64}, {"shortest_edge": 64}, ...],
    ids=["int", "sides", "edge", "none"],
)
def test_sizes_as_processors_write_them(folder: Path, size: Any) -> None:
    edit(folder / "preprocessor_config.json", size=size, resample=3)
    spec = load_base(str(folder)).spec
    assert (spec.image_size, spec.resample) == (64, 3)


def test_wrong_digest_names_both(folder: Path) -> None:
    found = file_digest(folder / WEIGHTS)
    with pytest.raises(MismatchError) as caught:
        load_base(str(folder), digest="f" * 64)
    assert found in str(caught.value)
    assert "f" * 64 in str(caught.value)


@pytest.mark.parametrize("missing", ["config.json", "preprocessor_config.json", WEIGHTS])
def test_a_missing_file_is_named(folder: Path, missing: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(DamagedError, match=f"lacks {missing}"):
        load_base(str(folder))


def test_a_missing_tokenizer_is_damage(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name not in ("config.json", "preprocessor_config.json", WEIGHTS):
            path.unlink()
    with pytest.raises(DamagedError, match="tokenizer"):
        load_base(str(folder))


def test_a_tokenizer_of_another_model_is_damage(folder: Path) -> None:
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    content["model"]["vocab"]["another"] = len(content["model"]["vocab"])
    path.write_text(json.dumps(content))
    with pytest.raises(DamagedError, match="515 tokens, but the model 514"):
        load_base(str(folder))


@pytest.mark.parametrize("keep", [0, 4, 100, 20_000, -1])
@pytest.mark.parametrize("pickled", [False, True])
def test_truncated_weights(folder: Path, keep: int, pickled: bool) -> None:
    if pickled:
        pickle_weights(folder)
    path = folder / ("pytorch_model.bin" if pickled else WEIGHTS)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DamagedError, match=path.name):
        load_base(str(folder))


def test_a_pickle_that_runs_code_is_refused(folder: Path, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Callable[..., None], tuple[Path]]:
            return Path.touch, (tmp_path / "ran",)

    (folder / WEIGHTS).unlink()
    torch.save({"x": Bomb()}, folder / "pytorch_model.bin")
    with pytest.raises(DamagedError, match=r"pytorch_model\.bin"):
        load_base(str(folder))
    assert not (tmp_path / "ran").exists()


def without_one(weights: dict[str, torch.Tensor]) -> None:
    weights.pop("decoder.film_mul.weight")


def with_one_more(weights: dict[str, torch.Tensor]) -> None:
    weights["decoder.other"] = torch.zeros(1)


def of_another_shape(weights: dict[str, torch.Tensor]) -> None:
    weights["decoder.film_mul.bias"] = torch.zeros(5)


@pytest.mark.parametrize("spoil", [without_one, with_one_more, of_another_shape])
def test_weights_that_do_not_fit(folder: Path, spoil: Callable[[dict[str, torch.Tensor]], None]) -> None:
    weights = load_file(folder / WEIGHTS)
    spoil(weights)
    save_file(weights, folder / WEIGHTS)
    with pytest.raises(DamagedError, match=WEIGHTS):
        load_base(str(folder))


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '"x"', b"\xff\xfe\x00".decode("latin-1")])
@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_configurations_that_do_not_parse(folder: Path, name: str, content: str) -> None:
    (folder / name).write_bytes(content.encode("latin-1"))
    with pytest.raises(DamagedError, match=name):
        load_base(str(folder))


@pytest.mark.parametrize(
    "fields",
    [
        {"model_type": "clip"},
        {"model_type": ...},
        {"projection_dim": "many"},
        {"text_config": 7},
        {"extract_layers": 3},
        {"extract_layers": [90]},
        {"tunevlseg_hybrid": {}},
        {"tunevlseg_hybrid": {"widths": [1]}},
    ],
)
def test_configurations_that_mean_nothing(folder: Path, fields: dict[str, Any]) -> None:
    edit(folder / "config.json", **fields)
    with pytest.raises(DamagedError, match=r"config\.json|safetensors"):
        load_base(str(folder))


@pytest.mark.parametrize(
    "fields",
    [
        {"image_mean": ...},
        {"image_std": [0.5]},
        {"image_mean": "grey"},
        {"image_std": [1, 0, 1]},
        {"size": {"height": 64, "width": 32}},
        {"size": "large"},
        {"size": {}},
        {"size": -64},
        {"size": 60},
        {"resample": 77},
    ],
)
def test_processors_that_mean_nothing(folder: Path, fields: dict[str, Any]) -> None:
    edit(folder / "preprocessor_config.json", **fields)
    with pytest.raises(DamagedError, match=r"preprocessor_config\.json"):
        load_base(str(folder))


@pytest.mark.parametrize(
    "name", ["", "no-such-model", "./no/folder", "/no/folder", "a/b/c", "../x", "~/x", "no such\nmodel"]
)
def test_unknown_names_say_what_is_accepted(name: str) -> None:
    with pytest.raises(
        UnknownNameError, match=r"accepted: embedded models \(.*\), a local folder, .* or a hub id"
    ):
        load_base(name)


def test_a_file_is_no_folder(folder: Path) -> None:
    with pytest.raises(DamagedError, match="in the hub's layout is given by its folder"):
        load_base(str(folder / WEIGHTS))
