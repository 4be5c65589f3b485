"""The progress bars of ``tunevlseg tune``."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from trainer.auto.attempts import Attempt
from trainer.tune import Watch
from trainer.tuning.loop import Tick


class TuneProgress:
    """Bars for reading, training and measuring, on one console.

    Args:
        console: Where to draw; a terminal gets moving bars, a file a line per epoch.
    """

    def __init__(self, console: Console):
        self._console = console
        self._epochs, self._bar = 1, "tuning"
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._measured = 0
        self._dice = ""

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def watch(self) -> Watch:
        """What to hand to :func:`trainer.tune.tune`."""
        return Watch(
            loading=lambda done, total: self._update("reading images", done, total),
            trying=self._trying,
            resumed=self._resumed,
            training=self._train,
            tried=self._tried,
            warned=lambda warning: self._console.print(f"note: {warning}", style="yellow", highlight=False),
            measuring=self._measure,
        )

    def _update(self, name: str, done: int, total: int, note: str = "") -> None:
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total, note=note)
        self._bars.update(self._tasks[name], completed=done, total=total, note=note)

    def _trying(self, strategy: str, epochs: int) -> None:
        self._epochs, self._bar, self._dice = epochs, f"tuning {strategy}", ""

    def _tried(self, attempt: Attempt) -> None:
        self._console.print(attempt.text(), highlight=False)

    def _resumed(self, epoch: int, step: int) -> None:
        self._console.print(f"going on after epoch {epoch}, step {step} of the run that was stopped")

    def _train(self, tick: Tick) -> None:
        if tick.dice is not None:
            self._dice = f"  Dice {tick.dice:.3f}"
            self._console.print(
                f"epoch {tick.epoch:>3}: loss {tick.loss:.4f}, Dice on selection images {tick.dice:.3f}"
            )
        done = tick.epoch * tick.steps + (tick.step if tick.dice is None else 0)
        self._update(self._bar, done, self._epochs * tick.steps, f"loss {tick.loss:.3f}{self._dice}")

    def _measure(self, done: int, total: int) -> None:
        what = "measuring zero-shot" if self._measured == 0 else "measuring tuned"
        self._update(what, done, total)
        if done == total:
            self._measured += 1
