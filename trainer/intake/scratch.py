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
    parent.mkdir(parents=True, exist_ok=True)
    own = parent / uuid4().hex
    with _alone(parent):
        _sweep(parent)
        own.mkdir()
        handle = (own / LOCK).open("a")
        flock(handle, LOCK_EX)
    with handle:
        files = own / "files"
        files.mkdir()
        try:
            yield files
        finally:
            # The many files first: others wait while one is alone.
            shutil.rmtree(files)
            with _alone(parent):
                shutil.rmtree(own)


@contextmanager
def _alone(parent: Path) -> Iterator[None]:
    """Nobody else makes, looks for or removes folders meanwhile."""
    with (parent / LOCK).open("a") as handle:
        flock(handle, LOCK_EX)
        yield


def _sweep(parent: Path) -> None:
    """Remove the folders of those that no longer live."""
    for folder in parent.iterdir():
        if folder.is_dir():
            # Held by an upload under way, or not to be removed, which is no reason to refuse another.
            with suppress(OSError), (folder / LOCK).open("a") as handle:
                flock(handle, LOCK_EX | LOCK_NB)
                shutil.rmtree(folder)
