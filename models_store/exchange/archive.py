"""Checkpoints as zip files: one folder with the checkpoint's files."""

from __future__ import annotations

import shutil
import stat
import zlib
from pathlib import Path, PurePosixPath
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from models_store.errors import BadInputError, DamagedError
from models_store.exchange.contents import MOST_FILES, check_sizes, copy_stream
from models_store.files import sync_folder

# The earliest a zip file can say, so that the same checkpoint makes the same file.
NO_DATE = (1980, 1, 1, 0, 0, 0)
READABLE = (stat.S_IFREG | 0o644) << 16
ENCRYPTED = 1


def write_zip(folder: Path, target: Path, name: str) -> None:
    """Write a checkpoint's files to a zip file, under one folder of this name."""
    with ZipFile(target, "w") as archive:
        for path in sorted(folder.iterdir()):
            entry = ZipInfo(f"{name}/{path.name}", NO_DATE)
            entry.compress_type, entry.external_attr = ZIP_DEFLATED, READABLE
            entry.file_size = path.stat().st_size
            with path.open("rb") as data, archive.open(entry, "w") as out:
                shutil.copyfileobj(data, out)


def unpack_zip(path: Path, target: Path) -> None:
    """Unpack a checkpoint's zip file into an empty folder; nothing is written outside it.

    Raises:
        BadInputError: It holds anything but a checkpoint's plain files, at its root or in one folder.
        DamagedError: It cannot be read.
    """
    try:
        with ZipFile(path) as archive:
            entries = _entries(archive, path)
            check_sizes({name: entry.file_size for name, entry in entries.items()}, str(path))
            for name, entry in entries.items():
                with archive.open(entry) as data:
                    copy_stream(data, target / name, entry.file_size)
    except (BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, UnicodeError) as error:
        raise DamagedError(f"{path} cannot be unpacked: {error}") from error
    sync_folder(target)


def _entries(archive: ZipFile, path: Path) -> dict[str, ZipInfo]:
    """The files by name, with the one folder they lie in taken off."""
    listed = archive.infolist()
    if len(listed) > MOST_FILES:
        raise BadInputError(
            f"{path} holds {len(listed)} entries; a checkpoint has at most {MOST_FILES} files"
        )
    files = [entry for entry in listed if not entry.is_dir()]
    for entry in listed:
        _check_entry(entry, path)
    tops = {entry.filename.partition("/")[0] for entry in listed}
    nested = len(tops) == 1 and all("/" in entry.filename for entry in listed)
    entries: dict[str, ZipInfo] = {}
    for entry in files:
        name = entry.filename.partition("/")[2] if nested else entry.filename
        if name in entries:
            raise BadInputError(f"{path} holds {entry.filename!r} twice")
        entries[name] = entry
    return entries


def _check_entry(entry: ZipInfo, path: Path) -> None:
    # orig_filename is what the file says; the library's own reading of it stops at a zero byte.
    name = entry.orig_filename
    if "\\" in name or name.startswith("/") or ".." in PurePosixPath(name).parts or not name.isprintable():
        raise BadInputError(f"{path} holds {name!r}, which does not stay inside its folder")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFDIR if entry.is_dir() else stat.S_IFREG):
        raise BadInputError(f"{path} holds {name!r}, which is a link or a device and not a plain file")
    if entry.flag_bits & ENCRYPTED:
        raise BadInputError(f"{path} holds {name!r}, which is encrypted")
    if entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        raise BadInputError(f"{path} holds {name!r}, packed by method {entry.compress_type}; use deflate")
