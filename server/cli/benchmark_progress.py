"""The progress bars of ``tunevlseg benchmark``."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from trainer.benchmark.measure import CellWatch
from trainer.benchmark.plan import Cell, Protocol
from trainer.benchmark.run import BenchmarkWatch
from trainer.data.examples import Counted
from trainer.tuning.loop import Tick


class BenchmarkProgress:
    """A bar of cells and a bar of the cell under way, and a line per finished cell.

    Args:
        console: Where to draw; a terminal gets moving bars, a file only the lines.
        cells: All cells.
        protocol: For the length of a run.
    """

    def __init__(self, console: Console, cells: Sequence[Cell], protocol: Protocol):
        self._console, self._epochs = console, protocol.epochs
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._all = self._bars.add_task("cells", total=len(cells))
        self._now = self._bars.add_task("", total=None, visible=False)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def watch(self) -> BenchmarkWatch:
        """What to hand to :class:`trainer.benchmark.run.Benchmark`."""
        return BenchmarkWatch(loading=self._loading, begun=self._begun, ended=self._ended)

    def _show(self, what: str, done: int, total: int) -> None:
        self._bars.update(self._now, description=escape(what), completed=done, total=total, visible=True)

    def _loading(self, dataset: str, base: str) -> Counted:
        return lambda done, total: self._show(f"{dataset}: reading images for {base}", done, total)

    def _begun(self, cell: Cell) -> CellWatch:
        name, tries = f"{cell.dataset} {cell.base} {cell.method}", [""]

        def trial(number: int, total: int) -> None:
            tries[0] = f" try {number}/{total}"

        def training(tick: Tick) -> None:
            done = tick.epoch * tick.steps + (tick.step if tick.dice is None else 0)
            self._show(f"{name}{tries[0]}, loss {tick.loss:.3f}", done, self._epochs * tick.steps)

        return CellWatch(trial, training, lambda done, total: self._show(f"{name} on val", done, total))

    def _ended(self, cell: Cell, what: str, content: dict[str, Any] | None) -> None:
        self._bars.advance(self._all)
        if what == "kept":
            return
        line = f"{cell.dataset:<24} {cell.base:<18} {cell.method:<17} "
        if what == "done" and content is not None:
            dice = content["figures"]["dice"]
            minutes = (content["seconds"] + content["measuring_seconds"]) / 60
            line += f"Dice {dice['mean']:.3f} ({dice['low']:.3f} to {dice['high']:.3f}), {minutes:.1f} min"
        elif what == "failed" and content is not None:
            line += f"failed: {content['error']}"
        else:
            line += "is measured by another process"
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)
