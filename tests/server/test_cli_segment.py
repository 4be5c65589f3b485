from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from serving import bundled_dicom, make_app, png, publish
from starlette.testclient import TestClient
from typer.testing import CliRunner, Result

from models_store.errors import BadInputError, MismatchError
from models_store.registry import CHAMPION, Registry
from models_store.vlsm import FrozenVLSM
from server.cli.common import pick_device
from server.cli.segment import segment
from server.errors import (
    ImageTooLargeError,
    PromptError,
    SettingsError,
    UnknownDatasetError,
    UnreadableImageError,
)

app = typer.Typer()
app.command()(segment)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture"
    path.write_bytes(png())
    return path


def run(path: Path, base: Path, data_dir: Path, *options: str) -> Result:
    arguments = [str(path), "--base", str(base), "--data-dir", str(data_dir), "--device", "cpu", *options]
    return CliRunner().invoke(app, arguments)


def answer_of(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def test_json_is_what_the_rest_api_answers(
    picture: Path, tiny_folder: Path, tiny: FrozenVLSM, tmp_path: Path
) -> None:
    answer = answer_of(
        run(picture, tiny_folder, tmp_path, "--prompt", "liver", "--prompt", "bone", "--threshold", "0.4")
    )
    service, _, _ = make_app(tiny, tmp_path)
    with TestClient(service) as client:
        fields = {"prompt": ["liver", "bone"], "threshold": "0.4"}
        other = client.post("/segment", files={"image": ("x", png())}, data=fields).json()
    for one in (answer, other):
        assert one.pop("timings_ms")["total"] > 0
    assert answer == other


def test_dicom_with_a_checkpoint_to_a_file(tiny_folder: Path, tiny: FrozenVLSM, tmp_path: Path) -> None:
    scan = tmp_path / "scan"
    scan.write_bytes(bundled_dicom("MR_small.dcm"))
    registry = Registry(tmp_path / "registry")
    registry.move_alias(publish(registry, tiny, "busi", "vpt"), CHAMPION, author="t", reason="r")
    out = tmp_path / "answer.json"
    result = run(scan, tiny_folder, tmp_path, "--prompt", "spine", "--dataset", "busi", "--out", str(out))
    assert (result.exit_code, result.stdout) == (0, "")
    answer = json.loads(out.read_text())
    assert answer["image"]["format"] == "DICOM"
    assert answer["versions"]["checkpoint"]["version"] == "v0001"


@pytest.mark.parametrize(("output", "mode"), [("png", "L"), ("probability", "L"), ("overlay", "RGB")])
def test_pictures(picture: Path, tiny_folder: Path, tmp_path: Path, output: str, mode: str) -> None:
    out = tmp_path / "out.png"
    result = run(picture, tiny_folder, tmp_path, "--prompt", "x", "--output", output, "--out", str(out))
    assert result.exit_code == 0, result.output
    with Image.open(out) as image:
        assert (image.mode, image.size) == (mode, (70, 48))
    piped = run(picture, tiny_folder, tmp_path, "--prompt", "x", "--output", output)
    with Image.open(BytesIO(piped.stdout_bytes)) as image, Image.open(out) as written:
        assert (np.array(image) == np.array(written)).all()


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        (["--prompt", " "], PromptError, "prompt 1 is empty"),
        (["--prompt", "x", "--dataset", "nope"], UnknownDatasetError, "no dataset 'nope'"),
        (["--prompt", "x", "--dataset", "a", "--checkpoint", "b/v0001"], BadInputError, "is of dataset 'b'"),
        (["--prompt", "x", "--prompt", "y", "--output", "png"], BadInputError, "shows one mask"),
        (["--prompt", "x", "--out", "/nonexistent/x.json"], BadInputError, "cannot be written"),
        (["--prompt", "x", "--device", "tpu"], SettingsError, "accepted are auto, cpu, cuda"),
    ],
)
def test_bad_options(
    picture: Path, tiny_folder: Path, tmp_path: Path, options: list[str], error: type[Exception], text: str
) -> None:
    result = run(picture, tiny_folder, tmp_path, *options)
    assert isinstance(result.exception, error), result.output
    assert text in str(result.exception)


def test_bad_files(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, picture: Path) -> None:
    result = run(tmp_path / "missing.png", tiny_folder, tmp_path, "--prompt", "x")
    assert isinstance(result.exception, UnreadableImageError)
    assert "missing.png cannot be read: No such file" in str(result.exception)
    monkeypatch.setenv("TUNEVLSEG_MAX_PIXELS", "100")
    assert isinstance(run(picture, tiny_folder, tmp_path, "--prompt", "x").exception, ImageTooLargeError)


def test_another_bases_checkpoint(
    picture: Path, tiny_folder: Path, tiny_hybrid: FrozenVLSM, tmp_path: Path
) -> None:
    publish(Registry(tmp_path / "registry"), tiny_hybrid, "busi", "vpt")
    result = run(picture, tiny_folder, tmp_path, "--prompt", "x", "--checkpoint", "busi/v0001")
    assert isinstance(result.exception, MismatchError)
    assert tiny_hybrid.spec.digest in str(result.exception)


def test_a_threshold_outside_is_a_usage_error(picture: Path, tiny_folder: Path, tmp_path: Path) -> None:
    result = run(picture, tiny_folder, tmp_path, "--prompt", "x", "--threshold", "7")
    assert result.exit_code == 2
    assert "--threshold" in result.output
    assert "less than or equal to 1" in result.output


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert pick_device("auto") == pick_device("cpu") == "cpu"
    with pytest.raises(SettingsError, match="there are 0 GPUs"):
        pick_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("auto") == "cuda"
    assert pick_device("cuda:1") == "cuda:1"
    for bad in ("cuda:2", "cuda:x", "gpu", ""):
        with pytest.raises(SettingsError):
            pick_device(bad)
