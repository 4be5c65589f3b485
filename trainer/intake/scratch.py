"""Folders to unpack into; what a killed process left goes at the next upload."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from uuid import uuid4

LOCK = ".lock"


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """An empty folder in ``parent``, gone on leaving; its holder is known to live by a lock."""
    _sweep(parent)
    own = parent / uuid4().hex
    own.mkdir(parents=True)
    with (own / LOCK).open("a") as handle:
        flock(handle, LOCK_EX)
        files = own / "files"
        files.mkdir()
        try:
            yield files
        finally:
            shutil.rmtree(own)
            # Others may be unpacking beside.
            with suppress(OSError):
                parent.rmdir()


def _sweep(parent: Path) -> None:
    for lock in parent.glob(f"*/{LOCK}"):
        try:
            with lock.open("a") as handle:
                flock(handle, LOCK_EX | LOCK_NB)
                shutil.rmtree(lock.parent)
        except OSError:
            # Held by an upload under way, or just gone.
            continue
