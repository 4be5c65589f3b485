"""What tuning and judging tell, brought to a job's desk."""

from __future__ import annotations

from collections.abc import Callable

from trainer.jobs.desk import Desk
from trainer.tuning.loop import Tick
from trainer.tuning.watch import Watch


def watch_for(desk: Desk) -> Watch:
    """Tells a desk how far a tuning run is; what the desk raises ends the run."""

    def training(tick: Tick) -> None:
        values = {"epoch": tick.epoch, "step": tick.step, "steps": tick.steps, "loss": tick.loss}
        desk.progress(**values, **({} if tick.dice is None else {"dice": tick.dice}))

    return Watch(
        loading=lambda done, total: desk.progress(part="loading", done=done, total=total),
        trying=lambda strategy, epochs: desk.progress(part="training", strategy=strategy, epochs=epochs),
        resumed=lambda epoch, step: desk.log(f"goes on after epoch {epoch}, step {step}"),
        training=training,
        tried=lambda attempt: desk.log(attempt.text()),
        warned=desk.log,
        measuring=lambda done, total: desk.progress(part="measuring", done=done, total=total),
    )


def told_to(desk: Desk) -> Callable[[str, int, int], None]:
    """Tells a desk how far the gate is."""
    return lambda what, done, total: desk.progress(part=what, done=done, total=total)
