"""Zip files that somebody made badly or with bad intent."""

from __future__ import annotations

import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import pytest
from store_bases import new_checkpoint, tiny_base

from models_store.checkpoints import WEIGHTS
from models_store.errors import BadInputError, StudioError
from models_store.exchange import export_checkpoint, import_checkpoint
from models_store.registry import Reference, Registry


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    registry = Registry(folder / "registry")
    registry.publish("busi", new_checkpoint(tiny_base(), "coop"))
    export_checkpoint(registry, Reference("busi", "v0001"), folder / "out")
    return folder / "out"


def pack(target: Path, folder: Path, change: Callable[[ZipFile], None], top: str = "") -> Path:
    """A zip file of a folder's files under ``top``, and what ``change`` adds."""
    with ZipFile(target, "w", ZIP_DEFLATED) as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, top + path.name)
        change(archive)
    return target


def leave(archive: ZipFile) -> None:
    """Nothing more."""


def refused(tmp_path: Path, source: Path, message: str, kind: type[StudioError] = StudioError) -> None:
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(kind, match=message):
        import_checkpoint(Registry(tmp_path / "registry"), str(source), "busi")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("top", ["", "folder/", "a folder with spaces/"])
def test_files_at_the_root_or_in_one_folder(tmp_path: Path, exported: Path, top: str) -> None:
    source = pack(tmp_path / "in.zip", exported, leave, top)
    assert import_checkpoint(Registry(tmp_path / "registry"), str(source), "busi").new


@pytest.mark.parametrize(
    "name", ["../loss", "/loss", "a/../../loss", "..\\loss", "C:\\loss", "\\\\host\\loss", "a\nb"]
)
@pytest.mark.parametrize("top", ["", "folder/"])
def test_names_that_lead_outside(tmp_path: Path, exported: Path, name: str, top: str) -> None:
    source = pack(tmp_path / "in.zip", exported, lambda z: z.writestr(ZipInfo(top + name), b"x"), top)
    refused(tmp_path, source, "does not stay inside|lie directly in its folder", BadInputError)


def test_a_name_with_a_zero_byte(tmp_path: Path, exported: Path) -> None:
    source = pack(tmp_path / "in.zip", exported, lambda z: z.writestr("loss@x", b"x"))
    source.write_bytes(source.read_bytes().replace(b"loss@x", b"loss\0x"))
    refused(tmp_path, source, r"'loss\\x00x', which does not stay inside", BadInputError)


@pytest.mark.parametrize("top", ["", "folder/"])
def test_files_in_folders_of_folders(tmp_path: Path, exported: Path, top: str) -> None:
    source = pack(tmp_path / "in.zip", exported, lambda z: z.writestr(top + "more/loss", b"x"), top)
    refused(tmp_path, source, "'more/loss'", BadInputError)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices(tmp_path: Path, exported: Path, kind: int) -> None:
    entry = ZipInfo("loss")
    entry.external_attr = (kind | 0o777) << 16
    source = pack(tmp_path / "in.zip", exported, lambda z: z.writestr(entry, b"/etc/passwd"))
    refused(tmp_path, source, "'loss', which is a link or a device", BadInputError)


def test_a_file_twice(tmp_path: Path, exported: Path) -> None:
    def twice(archive: ZipFile) -> None:
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("eval.json", b"{}")

    refused(tmp_path, pack(tmp_path / "in.zip", exported, twice), r"eval\.json' twice", BadInputError)


def test_a_bomb(tmp_path: Path, exported: Path) -> None:
    source = pack(tmp_path / "in.zip", exported, lambda z: z.writestr("loss", bytes(65 * 2**20)))
    assert source.stat().st_size < 2**20
    refused(tmp_path, source, "loss in .* is beyond what is taken in", BadInputError)


def test_a_file_that_holds_more_than_it_says(tmp_path: Path, exported: Path) -> None:
    source = pack(tmp_path / "in.zip", exported, lambda z: z.writestr("loss", bytes(2**20)))
    size = struct.pack("<I", 2**20)
    assert source.read_bytes().count(size) == 2
    source.write_bytes(source.read_bytes().replace(size, struct.pack("<I", 100)))
    refused(tmp_path, source, "cannot be unpacked: Bad CRC")


def test_many_entries(tmp_path: Path, exported: Path) -> None:
    def many(archive: ZipFile) -> None:
        for number in range(300):
            archive.writestr(f"{number}", b"")

    refused(tmp_path, pack(tmp_path / "in.zip", exported, many), "at most 256", BadInputError)


def test_a_file_that_the_sums_do_not_list(tmp_path: Path, exported: Path) -> None:
    source = pack(tmp_path / "in.zip", exported, lambda z: z.writestr("run.py", b"print()"))
    refused(tmp_path, source, r"does not list: run\.py")


def test_an_encrypted_entry(tmp_path: Path, exported: Path) -> None:
    source = pack(tmp_path / "in.zip", exported, lambda z: z.writestr("loss", b"x"))
    content = bytearray(source.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    source.write_bytes(content)
    refused(tmp_path, source, "'loss', which is encrypted", BadInputError)


def test_another_way_of_packing(tmp_path: Path, exported: Path) -> None:
    entry = ZipInfo("loss")
    entry.compress_type = zipfile.ZIP_BZIP2
    source = pack(tmp_path / "in.zip", exported, lambda z: z.writestr(entry, b"x"))
    refused(tmp_path, source, "packed by method 12; use deflate", BadInputError)


def test_no_checkpoint_at_all(tmp_path: Path) -> None:
    for name, content in (("empty.zip", {}), ("other.zip", {"a.txt": b"a"})):
        with ZipFile(tmp_path / name, "w") as archive:
            for inner, data in content.items():
                archive.writestr(inner, data)
        refused(tmp_path, tmp_path / name, "is not a checkpoint: it lacks SHA256SUMS", BadInputError)


def test_a_zip_cut_short_or_with_flipped_bytes(tmp_path: Path, exported: Path) -> None:
    whole = pack(tmp_path / "whole.zip", exported, leave).read_bytes()
    for keep in (10, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut.zip").write_bytes(whole[:keep])
        refused(tmp_path, tmp_path / "cut.zip", r"neither a folder nor a zip file|cannot be unpacked")
    start = whole.index(WEIGHTS.encode())
    for at in (start + 200, start + 900):
        (tmp_path / "flipped.zip").write_bytes(whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :])
        refused(tmp_path, tmp_path / "flipped.zip", "cannot be unpacked|has digest")
