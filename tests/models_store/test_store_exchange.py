"""Checkpoints out of the registry and back: folders and zip files."""

from __future__ import annotations

import json
from pathlib import Path
from zipfile import ZipFile

import pytest
from store_bases import new_checkpoint, tiny_base

from models_store.checkpoints import CONFIG, EVALUATION, SUMS, WEIGHTS, read_checkpoint
from models_store.errors import BadInputError, DamagedError, StudioError, UnknownNameError
from models_store.exchange import export_checkpoint, import_checkpoint
from models_store.registry import Reference, Registry

V1 = Reference("busi", "v0001")
EXTRA = {"loss": b"not really a picture", "cases": b"nor this"}


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry = Registry(tmp_path / "registry")
    registry.publish("busi", new_checkpoint(tiny_base(), "coop", **EXTRA))
    return registry


@pytest.fixture
def other(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "other")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_out_and_in_again_is_the_same_version(
    registry: Registry, other: Registry, tmp_path: Path, kind: str
) -> None:
    out = tmp_path / "away" / "busi.zip"
    export_checkpoint(registry, V1, out, kind)
    assert tree(out.parent)[0] == out.name, "nothing else is left beside it"
    done = import_checkpoint(other, str(out), "breast")
    assert (str(done.reference), done.new) == ("breast/v0001", True)
    assert contents(other.folder(done.reference)) == contents(registry.folder(V1))
    assert other.read(done.reference).pack.digest == registry.read(V1).pack.digest


def test_a_zip_is_one_folder_and_the_same_bytes_each_time(registry: Registry, tmp_path: Path) -> None:
    for name in ("a.zip", "b.zip"):
        export_checkpoint(registry, V1, tmp_path / name, "zip")
    with ZipFile(tmp_path / "a.zip") as archive:
        assert {name.split("/")[0] for name in archive.namelist()} == {"busi-v0001"}
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_the_same_files_again_add_nothing(registry: Registry, tmp_path: Path) -> None:
    export_checkpoint(registry, V1, tmp_path / "out")
    again = import_checkpoint(registry, str(tmp_path / "out"), "busi")
    assert (again.reference, again.new) == (V1, False)
    registry.publish("busi", new_checkpoint(tiny_base(), "coop", seed=1))
    assert import_checkpoint(registry, str(tmp_path / "out"), "busi").reference == V1
    assert registry.versions("busi") == ["v0001", "v0002"]


def test_a_version_that_is_damaged_does_not_pass_for_the_same(registry: Registry, tmp_path: Path) -> None:
    export_checkpoint(registry, V1, tmp_path / "out")
    (registry.folder(V1) / "README.md").write_text("changed")
    done = import_checkpoint(registry, str(tmp_path / "out"), "busi")
    assert (done.reference.version, done.new) == ("v0002", True)


def test_what_is_there_is_not_written_over(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("empty", "dangling"):
        with pytest.raises(BadInputError, match="is there already"):
            export_checkpoint(registry, V1, tmp_path / name)
    assert tree(tmp_path / "empty") == []


@pytest.mark.parametrize("kind", ["folder", "zip", "hub"])
def test_a_damaged_version_does_not_leave(registry: Registry, tmp_path: Path, kind: str) -> None:
    (registry.folder(V1) / EVALUATION).write_text("{}")
    with pytest.raises(DamagedError, match=r"eval\.json has digest"):
        export_checkpoint(registry, V1, tmp_path / "out", kind)
    assert not (tmp_path / "out").exists()


def test_where_nothing_can_be_written(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadInputError, match="cannot be written"):
        export_checkpoint(registry, V1, tmp_path / "file" / "out")


def test_hub_layout(registry: Registry, tmp_path: Path) -> None:
    out = tmp_path / "hub"
    export_checkpoint(registry, V1, out, "hub")
    assert tree(out) == sorted([CONFIG, WEIGHTS, EVALUATION, "README.md", SUMS])
    card = (out / "README.md").read_text()
    assert card.startswith("---\n# The licence follows")
    for line in ("library_name: tunevlseg-studio", "license: other", "- coop", "- busi", "base_model: plain"):
        assert f"\n{line}\n" in card
    assert card.endswith(
        "---\n\n# A card\n\nThis copy comes without the pictures and the figures of single images.\n"
    )
    assert read_checkpoint(out).config == registry.read(V1).config


def test_hub_layout_with_cases_comes_back_as_it_was(
    registry: Registry, other: Registry, tmp_path: Path
) -> None:
    export_checkpoint(registry, V1, tmp_path / "hub", "hub", cases=True)
    assert (tmp_path / "hub" / "loss").read_bytes() == EXTRA["loss"]
    done = import_checkpoint(other, str(tmp_path / "hub"), "busi")
    assert contents(other.folder(done.reference)) == contents(registry.folder(V1))
    assert not import_checkpoint(registry, str(tmp_path / "hub"), "busi").new


def test_hub_layout_leaves_out_what_shows_single_images(registry: Registry, tmp_path: Path) -> None:
    new = new_checkpoint(tiny_base(), "coop", **EXTRA)
    new.evaluation.update({"images": [{"name": "Jane Doe", "dice": 0.1}], "n": 1})
    reference = registry.publish("busi", new)
    export_checkpoint(registry, reference, tmp_path / "hub", "hub")
    assert json.loads((tmp_path / "hub" / EVALUATION).read_text()) == {"dice": 0.5, "n": 1}
    assert not (tmp_path / "hub" / "loss").exists()
    export_checkpoint(registry, reference, tmp_path / "all", "hub", cases=True)
    assert "Jane Doe" in (tmp_path / "all" / EVALUATION).read_text()


def test_what_is_neither_file_nor_folder(registry: Registry, tmp_path: Path) -> None:
    for source in (str(tmp_path / "none"), "none", "none/none.zip", "a/b/c", "./a", ""):
        with pytest.raises((UnknownNameError, BadInputError)):
            import_checkpoint(registry, source, "busi")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(BadInputError, match="neither a folder nor a zip file"):
        import_checkpoint(registry, str(tmp_path / "text"), "busi")


@pytest.fixture
def exported(registry: Registry, tmp_path: Path) -> Path:
    export_checkpoint(registry, V1, tmp_path / "out")
    return tmp_path / "out"


def refused(other: Registry, exported: Path, kind: type[StudioError], message: str) -> None:
    with pytest.raises(kind, match=message):
        import_checkpoint(other, str(exported), "breast")
    assert not other.root.exists(), "whole or not at all"


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS, EVALUATION, "README.md", "loss", SUMS])
def test_a_folder_that_lacks_a_file(other: Registry, exported: Path, name: str) -> None:
    (exported / name).unlink()
    refused(other, exported, StudioError, f"lacks {name}")


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS, EVALUATION, "README.md", "loss"])
def test_a_folder_with_a_changed_file(other: Registry, exported: Path, name: str) -> None:
    (exported / name).write_bytes((exported / name).read_bytes() + b" ")
    refused(other, exported, DamagedError, f"out is damaged: {name} has digest")


def test_a_folder_with_more_than_is_listed(other: Registry, exported: Path) -> None:
    (exported / "run.py").write_text("print()")
    refused(other, exported, DamagedError, r"SHA256SUMS does not list: run\.py")


def test_a_folder_with_a_link(other: Registry, exported: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes((exported / "loss").read_bytes())
    (exported / "loss").unlink()
    (exported / "loss").symlink_to(tmp_path / "secret")
    refused(other, exported, BadInputError, "loss is a link")


def test_a_folder_with_a_folder(other: Registry, exported: Path) -> None:
    (exported / "more").mkdir()
    refused(other, exported, BadInputError, "more is not a file")


def test_what_git_and_the_hub_put_beside_it_is_passed_over(other: Registry, exported: Path) -> None:
    (exported / ".gitattributes").write_text("*.safetensors filter=lfs\n")
    (exported / ".cache").mkdir()
    assert import_checkpoint(other, str(exported), "breast").new


def test_sizes_are_bounded(other: Registry, exported: Path) -> None:
    with (exported / "loss").open("r+b") as sparse:
        sparse.truncate(2**40)
    refused(other, exported, BadInputError, "loss in .* has 1099511627776 bytes")


def test_the_number_of_files_is_bounded(other: Registry, exported: Path) -> None:
    for number in range(300):
        (exported / f"{number}").touch()
    refused(other, exported, BadInputError, "at most 256")


def test_a_name_that_is_not_acceptable(other: Registry, exported: Path) -> None:
    with pytest.raises(BadInputError, match="not acceptable"):
        import_checkpoint(other, str(exported), "../breast")
    assert not other.root.exists()
