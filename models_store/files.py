"""Writing so that a crash at any moment leaves either the old state or the new."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from pathlib import Path
from uuid import uuid4

ASIDE_PREFIX = ".aside-"


def sync_folder(folder: Path) -> None:
    """Make renames inside a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_file(path: Path, content: bytes) -> None:
    """Write a new file durably; for files in a folder that is not in place yet."""
    with path.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())


def replace_file(path: Path, content: bytes) -> None:
    """Replace a file's content, whole or not at all."""
    aside = _aside_name(path.parent)
    try:
        write_file(aside, content)
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def append_line(path: Path, line: str) -> None:
    """Append one line durably, closing a line that an earlier crash cut short."""
    with path.open("ab+") as out:
        end = out.seek(0, os.SEEK_END)
        torn = False
        if end:
            out.seek(end - 1)
            torn = out.read(1) != b"\n"
        out.write((b"\n" if torn else b"") + line.encode() + b"\n")
        out.flush()
        os.fsync(out.fileno())


@contextmanager
def folder_aside(parent: Path) -> Iterator[Path]:
    """A scratch folder in ``parent``, gone on leaving unless it was renamed into place."""
    aside = _aside_name(parent)
    aside.mkdir()
    try:
        yield aside
    finally:
        if aside.exists():
            shutil.rmtree(aside)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder's lock against other threads and processes; a killed holder lets go.

    Whoever writes aside in such a folder does so under its lock. What lies aside when the lock
    is gained therefore belongs to no one alive, and goes.
    """
    with (folder / ".lock").open("a") as handle:
        flock(handle, LOCK_EX)
        for left in folder.glob(f"{ASIDE_PREFIX}*"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        yield


def _aside_name(parent: Path) -> Path:
    # Not tempfile, whose files and folders are private: a registry may be shared with other users.
    return parent / f"{ASIDE_PREFIX}{uuid4().hex}"
