"""Folders to unpack into; what a killed process left goes at a later upload."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from uuid import uuid4

LOCK = ".lock"
# What a folder is called before it is locked and while it is being removed; that takes no time to speak of.
PASSING, PASSING_SECONDS = ".passing-", 3600.0


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """An empty folder in ``parent``, gone on leaving; its holder is known to live by a lock."""
    _sweep(parent)
    own = parent / uuid4().hex
    passing = parent / f"{PASSING}{own.name}"
    passing.mkdir(parents=True)
    with (passing / LOCK).open("a") as handle:
        flock(handle, LOCK_EX)
        (passing / "files").mkdir()
        os.rename(passing, own)
        try:
            yield own / "files"
        finally:
            os.rename(own, passing)
            shutil.rmtree(passing)
            # Others may be unpacking beside.
            with suppress(OSError):
                parent.rmdir()


def _sweep(parent: Path) -> None:
    for folder in parent.iterdir() if parent.is_dir() else ():
        try:
            if folder.name.startswith(PASSING):
                if folder.stat().st_mtime < time.time() - PASSING_SECONDS:
                    shutil.rmtree(folder)
            else:
                with (folder / LOCK).open("a") as handle:
                    flock(handle, LOCK_EX | LOCK_NB)
                    shutil.rmtree(folder)
        except OSError:
            # Held by an upload under way, or just gone.
            continue
