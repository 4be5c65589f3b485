"""Unpacking ZIP archives that strangers made.

Everything an archive says of itself is checked before a byte is unpacked, and what it says of
sizes is checked again while unpacking, for it may lie.
"""

from __future__ import annotations

import errno
import mmap
import stat
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from trainer.intake.faults import FileFault, RefusedUploadError
from trainer.intake.limits import IntakeLimits
from trainer.intake.names import is_litter, is_nested, name_fault, same_on_any_disk, shown

ENTRY_MARK, ARCHIVE_MARK = b"PK\x01\x02", b"PK\x03\x04"
ENCRYPTED = 0x1
# Small archives may shrink as they like: a folder of black masks does, and hurts nobody.
HARMLESS_BYTES = 64 * 1024 * 1024
CHUNK = 1024 * 1024

Progress = Callable[[str, int, int], None]
"""Told which step is at work, and how many of how many are done."""


def no_progress(_step: str, _done: int, _of: int) -> None:
    """Told of progress, does nothing."""


def unpack(
    archive: BinaryIO, folder: Path, limits: IntakeLimits, *, progress: Progress = no_progress
) -> list[str]:
    """Unpack an archive into an empty folder.

    Args:
        archive: The file, which must have a descriptor.
        folder: Where to.
        limits: What it may hold.
        progress: Told how many files are unpacked.

    Returns:
        Names of the files left out, such as those that file managers leave behind.

    Raises:
        RefusedUploadError: It is no ZIP archive, damaged, too large, or holds what is not unpacked:
            every fault is listed. Some of its files may lie in the folder.
    """
    entries = _count_entries(archive, limits.max_entries)
    if entries == 0 or entries > limits.max_entries:
        _refuse_count(entries, limits)
    try:
        with ZipFile(archive) as opened:
            return _unpack(opened, folder, _size(archive), limits, progress)
    except (BadZipFile, NotImplementedError, ValueError, EOFError, OverflowError) as error:
        raise _refused("the archive is damaged or cut short", [FileFault(None, str(error))]) from error
    except OSError as error:
        # What comes of offsets that point before the file.
        if error.errno != errno.EINVAL:
            raise
        raise _refused(
            "the archive is damaged or cut short", [FileFault(None, "offsets are wrong")]
        ) from error


def _unpack(archive: ZipFile, folder: Path, size: int, limits: IntakeLimits, progress: Progress) -> list[str]:
    entries = archive.infolist()
    if len(entries) > limits.max_entries:
        _refuse_count(len(entries), limits)
    faults = _faults(entries)
    if faults:
        raise _refused(f"the archive has {len(faults)} files that are not accepted", faults)
    left_out = [entry.filename for entry in entries if is_litter(entry.filename)]
    files = [entry for entry in entries if not entry.is_dir() and not is_litter(entry.filename)]
    _check_total(sum(entry.file_size for entry in files), size, limits)
    written = 0
    for done, entry in enumerate(files, start=1):
        target = folder / entry.filename
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with archive.open(entry) as content, target.open("xb") as out:
                while chunk := content.read(CHUNK):
                    if chunk.startswith(ARCHIVE_MARK) and out.tell() == 0:
                        faults.append(FileFault(entry.filename, "is an archive itself; unpack it first"))
                        break
                    written += len(chunk)
                    _check_total(written, size, limits)
                    out.write(chunk)
        except (BadZipFile, zlib.error, EOFError) as error:
            faults.append(FileFault(entry.filename, f"is damaged: {error}"))
        progress("unpacking", done, len(files))
    if faults:
        raise _refused(f"{len(faults)} files of the archive are not accepted", faults)
    return left_out


def _faults(entries: Iterable[ZipInfo]) -> list[FileFault]:
    """What the archive's list of files is refused for."""
    faults = []
    # By the text that any disk would take for the same: the name, and whether it is a folder's.
    taken: dict[str, tuple[str, bool]] = {}
    for entry in entries:
        name = entry.orig_filename
        fault = name_fault(name) or _kind_fault(entry)
        if fault is None and entry.filename != name:
            fault = f"has a second name, {shown(entry.filename)!r}"
        if fault is None and not is_litter(name):
            fault = _clash(entry, taken)
        if fault is not None:
            faults.append(FileFault(shown(name), fault))
    return faults


def _kind_fault(entry: ZipInfo) -> str | None:
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind == stat.S_IFLNK:
        return "is a symbolic link; files are accepted"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a device or a pipe; files are accepted"
    if entry.flag_bits & ENCRYPTED:
        return "is encrypted; send the archive without a password"
    if entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        return f"is compressed by method {entry.compress_type}; stored and deflated files are accepted"
    if not entry.is_dir() and is_nested(entry.orig_filename):
        return "is an archive itself; unpack it first"
    return None


def _clash(entry: ZipInfo, taken: dict[str, tuple[str, bool]]) -> str | None:
    """Why an entry cannot lie beside those before it, which ``taken`` remembers."""
    name = entry.orig_filename.removesuffix("/")
    parts = name.split("/")
    for end in range(1, len(parts) + 1):
        path, is_folder = "/".join(parts[:end]), end < len(parts) or entry.is_dir()
        key = same_on_any_disk(path)
        if key not in taken:
            taken[key] = path, is_folder
            continue
        other, was_folder = taken[key]
        if other == path and is_folder and was_folder:
            continue
        if other == path and is_folder == was_folder:
            return "is in the archive twice"
        return f"has the name of {other!r}, but for case or kind"
    return None


def _count_entries(archive: BinaryIO, most: int) -> int:
    """How many entries the archive lists, but for the last bits: counting stops beyond the most accepted.

    Counted by their marks before :mod:`zipfile`, which would make an object of each, reads them.
    """
    size = _size(archive)
    if size == 0:
        return 0
    count = at = 0
    with mmap.mmap(archive.fileno(), size, access=mmap.ACCESS_READ) as content:
        while count <= most and (at := content.find(ENTRY_MARK, at)) >= 0:
            count += 1
            at += len(ENTRY_MARK)
    return count


def _size(archive: BinaryIO) -> int:
    archive.seek(0, 2)
    size = archive.tell()
    archive.seek(0)
    return size


def _refuse_count(entries: int, limits: IntakeLimits) -> None:
    if entries == 0:
        raise _refused("the upload is not an archive with files in it", [FileFault(None, "send a ZIP file")])
    said = f"at most {limits.max_entries:,} are accepted; send it in several"
    raise _refused("the archive holds too many files", [FileFault(None, said)])


def _check_total(unpacked: int, size: int, limits: IntakeLimits) -> None:
    fault = None
    if unpacked > limits.max_unpacked_bytes:
        fault = f"more than {limits.max_unpacked_bytes:,} bytes; send it in several"
    elif unpacked > HARMLESS_BYTES and unpacked > limits.max_ratio * size:
        fault = f"more than {limits.max_ratio:g} times its own size of {size:,} bytes"
    if fault is not None:
        raise _refused("the archive would unpack to more than is accepted", [FileFault(None, fault)])


def _refused(headline: str, faults: list[FileFault]) -> RefusedUploadError:
    return RefusedUploadError(headline, faults)
