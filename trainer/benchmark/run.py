"""Work through the cells: every finished one is kept, a failed one stops no other."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

from models_store.errors import StudioError
from models_store.files import replace_file
from models_store.vlsm import FrozenVLSM
from trainer.benchmark.chart import dice_chart
from trainer.benchmark.measure import CellWatch, Group, load_group, measure_cell
from trainer.benchmark.plan import FORMAT, ZERO_SHOT_NAME, Cell, Protocol
from trainer.benchmark.store import DONE, FAILED, CellStore
from trainer.benchmark.table import CHART, markdown
from trainer.benchmark.table_csv import table_csv
from trainer.data.examples import Counted

MARKDOWN, CSV = "benchmark.md", "benchmark.csv"


@dataclass(frozen=True)
class BenchmarkWatch:
    """Whom to tell how far a benchmark is; any may be left out.

    Attributes:
        loading: Told the dataset, the base, and how many of how many images are read.
        begun: Told the cell that is measured next; returns whom to tell about it.
        ended: Told a cell and what became of it: ``done``, ``failed``, ``elsewhere`` where another
            process is at it, or ``kept`` where it was finished before.
    """

    loading: Callable[[str, str], Counted] | None = None
    begun: Callable[[Cell], CellWatch] | None = None
    ended: Callable[[Cell, str, dict[str, Any] | None], None] | None = None


@dataclass
class Benchmark:
    """A benchmark in an out folder.

    Attributes:
        root: The folder the datasets lie in.
        cells: In the order of :func:`trainer.benchmark.plan.plan_cells`.
        bases: The base models by name.
        protocol: What is the same for all cells.
        store: The out folder.
        device: Where the bases are.
        command: The command line that runs it, for the Markdown.
        watch: Whom to tell.
    """

    root: Path
    cells: Sequence[Cell]
    bases: dict[str, FrozenVLSM]
    protocol: Protocol
    store: CellStore
    device: torch.device
    command: str
    watch: BenchmarkWatch = field(default_factory=BenchmarkWatch)

    def run(self) -> None:
        """Measure what is not finished, then write the table."""
        for _, cells in groupby(self.cells, key=lambda cell: (cell.dataset, cell.base)):
            group = list(cells)
            if self._run_group(group):
                self.write_table()
        self.write_table()

    def write_table(self) -> None:
        """Write the Markdown, the CSV and the chart of what is finished so far."""
        contents = self.store.contents(self.cells)
        text = markdown(contents, command=self.command, protocol=self.protocol)
        for name, content in (
            (CHART, dice_chart(contents)),
            (CSV, table_csv(contents).encode()),
            (MARKDOWN, text.encode()),
        ):
            replace_file(self.store.folder / name, content)

    def _run_group(self, cells: Sequence[Cell]) -> bool:
        """Measure the unfinished cells of one base and dataset; returns whether there were any."""
        todo = [cell for cell in cells if not self.store.done(cell)]
        for cell in cells:
            if cell not in todo:
                self._tell(cell, "kept")
        if not todo:
            return False
        shared = _Lazy(lambda: self._load(cells[0]))
        zero_shot = next(cell for cell in cells if cell.method == ZERO_SHOT_NAME)
        if zero_shot in todo:
            self._cell(zero_shot, shared, None, wait=True)
        for cell in todo:
            if cell != zero_shot:
                self._cell(cell, shared, zero_shot)
        return True

    def _load(self, cell: Cell) -> Group:
        loading = self.watch.loading
        return load_group(
            self.root / cell.dataset,
            self.bases[cell.base],
            protocol=self.protocol,
            device=self.device,
            progress=None if loading is None else loading(cell.dataset, cell.base),
        )

    def _cell(self, cell: Cell, shared: _Lazy, zero_shot: Cell | None, *, wait: bool = False) -> None:
        with self.store.claim(cell, wait=wait) as held:
            if not held:
                self._tell(cell, "elsewhere")
            elif self.store.done(cell):
                self._tell(cell, "kept")
            else:
                content = self._measure(cell, shared, zero_shot)
                self.store.write(cell, content)
                if content["status"] == DONE:
                    self.store.forget_runs(cell)
                self._tell(cell, content["status"], content)

    def _measure(self, cell: Cell, shared: _Lazy, zero_shot: Cell | None) -> dict[str, Any]:
        watch = self.watch.begun(cell) if self.watch.begun is not None else None
        # Whatever goes wrong in one cell must not cost the others; it is recorded, and tried again.
        try:
            before = None if zero_shot is None else self.store.read(zero_shot)
            if zero_shot is not None and (before is None or before["status"] != DONE):
                raise StudioError(
                    f"its zero-shot cell is not there: {(before or {}).get('error', 'missing')}"
                )
            return measure_cell(
                cell, shared.get(), self.store.run_folder(cell), zero_shot=before, watch=watch
            )
        except Exception as error:
            return {
                "format": FORMAT,
                "status": FAILED,
                "dataset": cell.dataset,
                "base": cell.base,
                "method": cell.method,
                "error": f"{type(error).__name__}: {error}",
                "traceback": traceback.format_exc(),
            }

    def _tell(self, cell: Cell, what: str, content: dict[str, Any] | None = None) -> None:
        if self.watch.ended is not None:
            self.watch.ended(cell, what, content)


class _Lazy:
    """A group that is loaded when the first cell needs it; a failure to load meets every cell."""

    def __init__(self, load: Callable[[], Group]):
        self._load = load
        self._group: Group | None = None
        self._error: Exception | None = None

    def get(self) -> Group:
        if self._error is not None:
            raise self._error
        if self._group is None:
            try:
                self._group = self._load()
            except Exception as error:
                self._error = error
                raise
        return self._group


def unfinished(contents: Sequence[tuple[Cell, dict[str, Any] | None]]) -> Iterator[Cell]:
    """The cells without figures."""
    return (cell for cell, content in contents if content is None or content["status"] != DONE)
