"""Checkpoint folders: what is written is what is read, and damage never passes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from store_bases import PHRASES, deep_base, images, new_checkpoint, tiny_base

from models_store import checkpoints
from models_store.checkpoints import read_checkpoint, read_config, read_evaluation, write_checkpoint
from models_store.errors import DamagedError, MismatchError
from models_store.heads import HeadMode
from models_store.packs import segment_logits
from models_store.strategies import make_learner

FILES = ["README.md", "adapter_config.json", "adapter_model.safetensors", "eval.json", "plot.png"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_checkpoint(
        tmp_path, dataclasses.replace(new_checkpoint(tiny_base()), extras={"plot.png": b"\x89PNG"})
    )
    return tmp_path


def record_sums(folder: Path) -> None:
    """Make the sums fit the files again, as someone who edits by hand would."""
    names = sorted(p.name for p in folder.iterdir() if p.name != "SHA256SUMS")
    sums = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / "SHA256SUMS").write_text("".join(sums))


def edit_config(folder: Path, **fields: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    record_sums(folder)


@pytest.mark.parametrize("strategy", ["coop", "vpt"])
def test_round_trip(tmp_path: Path, strategy: str) -> None:
    base, new = tiny_base(), new_checkpoint(tiny_base(), strategy)
    write_checkpoint(tmp_path, new)
    read = read_checkpoint(tmp_path)
    assert read.config == new.config == read_config(tmp_path)
    assert read.evaluation == new.evaluation == read_evaluation(tmp_path)
    assert (tmp_path / "README.md").read_text() == new.card
    assert read.pack.digest == new.pack.digest == read.config.pack_digest
    assert read.learner.keys() == new.learner.keys()
    assert all(torch.equal(read.learner[k], v) for k, v in new.learner.items())
    read.check_base(base.spec)
    tokens = base.tokenize(PHRASES, read.pack.text_tokens)
    ours, theirs = (segment_logits(base, p, images(3), tokens) for p in (new.pack, read.pack))
    assert torch.equal(ours, theirs)
    learner = make_learner(strategy, base, depth=2, n=3)
    learner.load_state_dict(read.learner)
    assert learner.fold().digest == read.pack.digest


def test_files_are_what_a_person_expects(folder: Path) -> None:
    assert sorted(p.name for p in folder.iterdir()) == sorted([*FILES, "SHA256SUMS"])
    checked = subprocess.run(
        ["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert checked.stdout.count("OK") == len(FILES)
    config = json.loads((folder / "adapter_config.json").read_text())
    assert (config["format"], config["strategy"], config["head"]) == (1, "vpt", "add")
    assert config["base"] == {"name": "plain", "digest": tiny_base().spec.digest}


def test_numbers_json_cannot_write_become_null(tmp_path: Path) -> None:
    evaluation = {"hausdorff": float("inf"), "cases": [float("nan"), 1.5], "pair": (1, 2), "n": 3}
    write_checkpoint(tmp_path, dataclasses.replace(new_checkpoint(tiny_base()), evaluation=evaluation))
    assert read_evaluation(tmp_path) == {"hausdorff": None, "cases": [None, 1.5], "pair": [1, 2], "n": 3}
    assert "NaN" not in (tmp_path / "eval.json").read_text()


@pytest.mark.parametrize("missing", [*FILES, "SHA256SUMS"])
def test_a_missing_file_is_named(folder: Path, missing: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(DamagedError, match=missing):
        read_checkpoint(folder)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "damage", [lambda b: b[:-1], lambda b: b"", lambda b: b + b"\n"], ids=["cut", "empty", "longer"]
)
def test_a_changed_length_is_noticed(folder: Path, name: str, damage: Callable[[bytes], bytes]) -> None:
    (folder / name).write_bytes(damage((folder / name).read_bytes()))
    with pytest.raises(DamagedError, match=name):
        read_checkpoint(folder)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("at", [0.0, 0.3, 0.6, 0.999])
def test_a_flipped_bit_is_noticed(folder: Path, name: str, at: float) -> None:
    content = bytearray((folder / name).read_bytes())
    content[int(at * len(content))] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(DamagedError, match=f"{name} has digest"):
        read_checkpoint(folder)


def test_every_flipped_bit_of_the_sums_is_noticed(folder: Path) -> None:
    path = folder / "SHA256SUMS"
    content = path.read_bytes()
    # The last byte is the final line's end, which may be any.
    for at in range(0, len(content) - 1, 7):
        for bit in (0, 7):
            spoiled = bytearray(content)
            spoiled[at] ^= 1 << bit
            path.write_bytes(spoiled)
            with pytest.raises(DamagedError):
                read_checkpoint(folder)


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "sub/file", ".."])
def test_sums_of_files_elsewhere_are_refused(folder: Path, name: str) -> None:
    with (folder / "SHA256SUMS").open("a") as sums:
        sums.write(f"{'0' * 64}  {name}\n")
    with pytest.raises(DamagedError, match="not a file beside it"):
        read_checkpoint(folder)


def test_sums_must_list_every_file(folder: Path) -> None:
    path = folder / "SHA256SUMS"
    path.write_text("".join(line for line in path.read_text().splitlines(True) if "safetensors" not in line))
    with pytest.raises(DamagedError, match=r"does not list adapter_model\.safetensors"):
        read_checkpoint(folder)


@pytest.mark.parametrize(
    ("format", "more"), [(2, {}), (2, {"strategy": ["a", "list"]}), (None, {}), ("1", {})]
)
def test_another_format_is_said_before_anything_else(folder: Path, format: Any, more: dict[str, Any]) -> None:
    edit_config(folder, format=format, **more)
    for read in (read_checkpoint, read_config):
        with pytest.raises(DamagedError, match=f"has format {format}; this version reads 1"):
            read(folder)


@pytest.mark.parametrize(
    "fields", [{"threshold": 7}, {"head": "hat"}, {"depth": "deep"}, {"base": "clipseg"}, {"labels": None}]
)
def test_configurations_that_mean_nothing(folder: Path, fields: dict[str, Any]) -> None:
    edit_config(folder, **fields)
    with pytest.raises(
        DamagedError,
        match=f"is not a checkpoint configuration: 1 validation error for .*\n{next(iter(fields))}\n",
    ):
        read_checkpoint(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe"])
@pytest.mark.parametrize("name", ["adapter_config.json", "eval.json"])
def test_json_that_does_not_parse(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    record_sums(folder)
    with pytest.raises(DamagedError, match=name):
        read_checkpoint(folder)


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_weights_that_do_not_parse(folder: Path, keep: int) -> None:
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    record_sums(folder)
    with pytest.raises(DamagedError, match=r"adapter_model\.safetensors cannot be read"):
        read_checkpoint(folder)


@pytest.mark.parametrize("fields", [{"head": "none"}, {"head": "mix"}, {"pack_digest": "0" * 64}])
def test_a_pack_other_than_the_configuration_says(folder: Path, fields: dict[str, Any]) -> None:
    edit_config(folder, **fields)
    with pytest.raises(DamagedError, match=r"head's tensors|the pack has digest"):
        read_checkpoint(folder)


def test_a_checkpoint_for_another_base_names_both(folder: Path) -> None:
    checkpoint, spec = read_checkpoint(folder), deep_base().spec
    with pytest.raises(MismatchError) as caught:
        checkpoint.check_base(spec)
    for part in ("'plain'", tiny_base().spec.digest, "'deep'", spec.digest):
        assert part in str(caught.value)


def test_the_base_is_its_digest_and_not_its_name(folder: Path) -> None:
    checkpoint = read_checkpoint(folder)
    checkpoint.check_base(dataclasses.replace(tiny_base().spec, name="renamed"))
    with pytest.raises(MismatchError, match=r"'resample': 2.*'resample': 3"):
        checkpoint.check_base(dataclasses.replace(tiny_base().spec, resample=3))
    with pytest.raises(MismatchError, match="do not fit"):
        checkpoint.check_base(dataclasses.replace(tiny_base().spec, vision_width=96))


@pytest.mark.parametrize("name", ["", "..", "a/b", "SHA256SUMS", "eval.json", "/x"])
def test_further_files_lie_beside_the_others(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be the name"):
        dataclasses.replace(new_checkpoint(tiny_base()), extras={name: b""})


def test_the_configuration_must_describe_the_pack() -> None:
    new = new_checkpoint(tiny_base())
    for change in ({"head": HeadMode.MIX}, {"pack_digest": "0" * 64}):
        with pytest.raises(ValueError, match="another pack"):
            dataclasses.replace(new, config=new.config.model_copy(update=change))


def test_a_folder_without_anything(tmp_path: Path) -> None:
    for read, named in (
        (read_checkpoint, checkpoints.SUMS),
        (read_config, checkpoints.CONFIG),
        (read_evaluation, checkpoints.EVALUATION),
    ):
        with pytest.raises(DamagedError, match=f"lacks {named}"):
            read(tmp_path)
