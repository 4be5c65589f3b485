"""Finished cells on disk: one file each, written whole; one process at a time per cell."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import Any

from trainer.benchmark.plan import Cell
from trainer.cell_files import CellFiles

RUNS, LOCKS = "runs", "locks"
DONE, FAILED = "done", "failed"


class CellStore:
    """The cells of an out folder; several processes may share it.

    Args:
        folder: The out folder; made where it is missing.
    """

    def __init__(self, folder: Path):
        self.folder, self._files = folder, CellFiles(folder)
        for part in (RUNS, LOCKS):
            (folder / part).mkdir(parents=True, exist_ok=True)

    def read(self, cell: Cell) -> dict[str, Any] | None:
        """What is known of a cell, or None; see :meth:`trainer.cell_files.CellFiles.read`."""
        return self._files.read(cell)

    def done(self, cell: Cell) -> bool:
        """Whether a cell has figures; a failed one has none and is tried again."""
        content = self.read(cell)
        return content is not None and content["status"] == DONE

    def write(self, cell: Cell, content: dict[str, Any]) -> None:
        """Record a cell, whole or not at all."""
        self._files.write(cell, content)

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
