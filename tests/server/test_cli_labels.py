"""``tunevlseg labels``: the same as over HTTP, on the data directory or through a service."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from dicom_files import saved
from dicom_sources import source
from labels_parts import file_of, mask_file, picture, rows, square, tasks, zipped
from live import running
from serving import make_app
from typer.testing import CliRunner

from models_store.errors import BadInputError
from models_store.vlsm import FrozenVLSM
from server.cli.main import app
from server.errors import SettingsError
from trainer.data.faults import UnusableDataError
from trainer.labels.errors import UnknownLabelsError

runner = CliRunner()


def run(*words: str | Path) -> str:
    result = runner.invoke(app, ["labels", *map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def unpacked(folder: Path, files: dict[str, bytes | str]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


@pytest.fixture
def here(tmp_path: Path) -> list[str]:
    return ["--data-dir", str(tmp_path / "data")]


def test_from_a_folder_to_a_revision(tmp_path: Path, here: list[str]) -> None:
    folder = unpacked(tmp_path / "set", tasks())
    assert "6 images would be added" in run("add", "toys", folder, "--dry-run", *here)
    assert rows(tmp_path / "data") == {}
    assert "6 images added (4 in train, 2 in val)" in run("add", "toys", folder, *here)
    assert "0 images added, 6 were there" in run("add", "toys", folder, *here)
    assert "6 images (4 train, 2 val), 0 unlabelled; 6 accepted" in run("list", *here)
    images = json.loads(run("list", "toys", "--split", "val", "--json", *here))
    assert [image["name"] for image in images] == ["case4.png", "case5.png"]
    number = str(images[0]["annotations"][0]["id"])
    assert "accepted -> rejected" in run("review", "toys", number, "rejected", "--reason", "wrong", *here)
    assert json.loads(run("list", "toys", "--unlabelled", "--json", *here))[0]["id"] == images[0]["id"]
    revision = json.loads(run("freeze", "toys", "--author", "ann", "--json", *here))
    assert revision["counts"] == {"images": {"train": 4, "val": 1}, "rows": {"train": 4, "val": 1}}
    assert revision["digest"] in run("freeze", "toys", *here)


def test_one_image_and_one_of_dicom(tmp_path: Path, here: list[str]) -> None:
    files = unpacked(tmp_path, {"a.png": file_of(picture(0)), "m.png": mask_file(square())})
    run("add", "toys", files / "a.png", "--mask", files / "m.png", "--phrase", "a square", *here)
    (tmp_path / "Curie.dcm").write_bytes(saved(source("US", (33, 40))))
    assert "1 images should be looked at" in run("add", "toys", tmp_path / "Curie.dcm", *here)
    listed = run("list", "toys", *here)
    assert "a square (accepted)" in listed
    assert "no label  ! text may be burnt in" in listed
    assert "Curie" not in listed


@pytest.mark.parametrize(
    ("words", "error", "text"),
    [
        (["add", "toys", "bad"], UnusableDataError, "cannot be read as an image"),
        (["add", "a/b", "good"], BadInputError, "dataset name"),
        (["add", "toys", "good", "--split", "val"], BadInputError, "leave out --split"),
        (["add", "toys", "good", "--state", "done"], BadInputError, "draft, accepted, rejected"),
        (["list", "toys"], UnknownLabelsError, "no labelled datasets yet"),
        (["freeze", "toys"], UnknownLabelsError, "no labelled datasets yet"),
    ],
)
def test_what_cannot_be_right_leaves_nothing(
    tmp_path: Path, here: list[str], words: list[str], error: type[Exception], text: str
) -> None:
    unpacked(tmp_path / "good", tasks())
    unpacked(tmp_path / "bad", tasks() | {"images/case0.png": "text"})
    words = [str(tmp_path / word) if word in ("good", "bad") else word for word in words]
    with pytest.raises(error, match=text):
        runner.invoke(app, ["labels", *words, *here], catch_exceptions=False)
    # The lock of the folder for unpacking is all there may be.
    assert {path.name for path in (tmp_path / "data").rglob("*")} <= {"incoming", ".lock"}


def test_through_a_service(tiny_hybrid: FrozenVLSM, tmp_path: Path) -> None:
    application, _, _ = make_app(tiny_hybrid, tmp_path / "data")
    folder = unpacked(tmp_path / "set", tasks())
    (tmp_path / "set.zip").write_bytes(zipped(tasks(7, 0)))
    with running(application) as url:
        assert "6 images added" in run("add", "toys", folder, "--url", url)
        said: dict[str, Any] = json.loads(run("add", "toys", tmp_path / "set.zip", "--url", url, "--json"))
        assert (said["images"], said["known_images"]) == (1, 6)
        bad = unpacked(tmp_path / "bad", tasks() | {"masks/case0.png": "text"})
        with pytest.raises(SettingsError, match=r"masks/case0\.png"):
            runner.invoke(app, ["labels", "add", "toys", str(bad), "--url", url], catch_exceptions=False)
