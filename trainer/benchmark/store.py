"""Finished cells on disk: one file each, written whole; one process at a time per cell."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import Any

from models_store.errors import DamagedError
from models_store.files import replace_file
from trainer.benchmark.plan import Cell

CELLS, RUNS, LOCKS = "cells", "runs", "locks"
DONE, FAILED = "done", "failed"


class CellStore:
    """The cells of an out folder; several processes may share it.

    Args:
        folder: The out folder; made where it is missing.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        for part in (CELLS, RUNS, LOCKS):
            (folder / part).mkdir(parents=True, exist_ok=True)

    def read(self, cell: Cell) -> dict[str, Any] | None:
        """What is known of a cell, or None.

        Raises:
            DamagedError: Its file does not parse.
        """
        path = self._path(cell)
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise DamagedError(f"{path} is not valid JSON; delete it to measure anew ({error})") from error
        return content

    def done(self, cell: Cell) -> bool:
        """Whether a cell has figures; a failed one has none and is tried again."""
        content = self.read(cell)
        return content is not None and content["status"] == DONE

    def write(self, cell: Cell, content: dict[str, Any]) -> None:
        """Record a cell, whole or not at all."""
        replace_file(self._path(cell), (json.dumps(content, indent=1) + "\n").encode())

    def run_folder(self, cell: Cell) -> Path:
        """Where the tuning runs of a cell keep their state; made where it is missing."""
        folder = self.folder / RUNS / cell.name
        folder.mkdir(exist_ok=True)
        return folder

    def forget_runs(self, cell: Cell) -> None:
        """Remove the state of a cell's runs."""
        shutil.rmtree(self.folder / RUNS / cell.name, ignore_errors=True)

    @contextmanager
    def claim(self, cell: Cell, *, wait: bool = False) -> Iterator[bool]:
        """Hold a cell against other processes; a killed holder lets go.

        Args:
            cell: The cell.
            wait: Whether to wait for another process that holds it.

        Yields:
            Whether it is held now.
        """
        with (self.folder / LOCKS / cell.name).open("a") as handle:
            try:
                flock(handle, LOCK_EX if wait else LOCK_EX | LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    def contents(self, cells: Sequence[Cell]) -> list[tuple[Cell, dict[str, Any] | None]]:
        """What is known of each cell."""
        return [(cell, self.read(cell)) for cell in cells]

    def _path(self, cell: Cell) -> Path:
        return self.folder / CELLS / f"{cell.name}.json"
