"""ZIP archives that no honest program writes, and folders to read."""

from __future__ import annotations

import io
import stat
import zipfile
from collections.abc import Sequence
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from trainer.intake.limits import IntakeLimits

LIMITS = IntakeLimits(max_pixels=10_000, max_entries=50, max_unpacked_bytes=100_000_000, max_ratio=100)


def archive(*entries: tuple[str | ZipInfo, bytes], compression: int = ZIP_DEFLATED) -> io.BytesIO:
    """An archive of entries in their order, whatever their names."""
    out = io.BytesIO()
    with ZipFile(out, "w", compression) as opened:
        for name, content in entries:
            info = name if isinstance(name, ZipInfo) else ZipInfo(name)
            info.compress_type = compression if not isinstance(name, ZipInfo) else info.compress_type
            opened.writestr(info, content)
    return out


def on_disk(content: io.BytesIO | bytes, folder: Path) -> Path:
    path = folder / "sent.zip"
    path.write_bytes(content if isinstance(content, bytes) else content.getvalue())
    return path


def special(name: str, kind: int) -> ZipInfo:
    """An entry that is a symbolic link, a pipe or a device."""
    info = ZipInfo(name)
    info.create_system = 3
    info.external_attr = (kind | 0o644) << 16
    return info


def link(name: str) -> ZipInfo:
    return special(name, stat.S_IFLNK)


def patched(content: io.BytesIO, where: bytes, offset: int, value: bytes) -> bytes:
    """The archive with bytes replaced behind each occurrence of a mark."""
    data = bytearray(content.getvalue())
    at = data.find(where)
    assert at >= 0
    while at >= 0:
        data[at + offset : at + offset + len(value)] = value
        at = data.find(where, at + 1)
    return bytes(data)


def many(count: int) -> bytes:
    """An archive of so many empty files."""
    out = io.BytesIO()
    with ZipFile(out, "w") as opened:
        for number in range(count):
            opened.writestr(f"images/{number}.png", b"")
    return out.getvalue()


LOCAL, CENTRAL = zipfile.stringFileHeader, zipfile.stringCentralDir  # type: ignore[attr-defined]


def names(folder: Path) -> Sequence[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
