"""Whom a tuning run tells how far it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from trainer.auto.attempts import Attempt
from trainer.data.examples import Counted
from trainer.tuning.loop import Tick


@dataclass(frozen=True)
class Watch:
    """Whom to tell how far a run is; any may be left out.

    What one of them raises ends the run, which the same call then goes on with: that is how to cancel.

    Attributes:
        loading: Told how many of how many images are read.
        trying: Told, before a strategy's training, which it is and its most epochs.
        resumed: Told, before training, which epoch and step a stopped run goes on from.
        training: Told after every step and epoch.
        tried: Told what became of each strategy of a list.
        warned: Told what is remarkable about the dataset, such as phrases that give the answer away.
        measuring: Told how many of how many images are measured, twice: zero-shot, then tuned.
    """

    loading: Counted | None = None
    trying: Callable[[str, int], None] | None = None
    resumed: Callable[[int, int], None] | None = None
    training: Callable[[Tick], None] | None = None
    tried: Callable[[Attempt], None] | None = None
    warned: Callable[[str], None] | None = None
    measuring: Counted | None = None
