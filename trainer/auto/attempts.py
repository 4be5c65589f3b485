"""What was tried within a budget, kept in the run's folder so that a killed run goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from models_store.errors import DamagedError
from models_store.files import replace_file
from models_store.json_files import read_object

FILE = "attempts.json"
Outcome = Literal["tried", "skipped", "failed"]


@dataclass(frozen=True)
class Attempt:
    """One strategy of a list, and what became of it.

    Attributes:
        strategy: Which.
        outcome: ``tried``; ``skipped``, for want of time or because the base does not take it; or
            ``failed``, which training may.
        reason: Why it was skipped or failed, or by what training ended: ``epochs``, ``patience`` or ``time``.
        warm: Whether it started from another checkpoint's values.
        schedule: Its schedule; see :mod:`trainer.tuning.schedule`.
        epochs: Epochs completed.
        best_epoch: The one kept; 0 is what a warm start started with.
        dice, loss: Mean Dice of that epoch on the selection images, and the lowest loss there.
        seconds: Time spent on it.
        steps: Steps taken.
    """

    strategy: str
    outcome: Outcome
    reason: str
    warm: bool = False
    schedule: dict[str, Any] = field(default_factory=dict)
    epochs: int = 0
    best_epoch: int = 0
    dice: float | None = None
    loss: float | None = None
    seconds: float = 0.0
    steps: int = 0

    def text(self) -> str:
        """For a console."""
        if self.dice is None:
            return f"{self.strategy}: {self.outcome}, {self.reason}"
        return (
            f"{self.strategy}: Dice {self.dice:.3f} on selection images after {self.epochs} epochs "
            f"({self.steps} steps, {self.seconds:.0f} s), ended by {self.reason}"
        )


class AttemptLog:
    """Finished attempts, by strategy, in the order they were made.

    Args:
        folder: The run's folder.

    Raises:
        DamagedError: The file in it does not parse.
    """

    def __init__(self, folder: Path):
        self._path = folder / FILE
        self._attempts: dict[str, Attempt] = {}
        if not self._path.is_file():
            return
        try:
            for entry in read_object(self._path, owner="run")["attempts"]:
                self._attempts[entry["strategy"]] = Attempt(**entry)
        except (KeyError, TypeError, DamagedError) as error:
            raise DamagedError(
                f"{self._path} cannot be read; delete {folder} to start anew ({error})"
            ) from error

    def __contains__(self, strategy: str) -> bool:
        return strategy in self._attempts

    def __iter__(self) -> Iterator[Attempt]:
        return iter(self._attempts.values())

    @property
    def seconds(self) -> float:
        """Time spent on all of them."""
        return sum(attempt.seconds for attempt in self)

    def add(self, attempt: Attempt) -> None:
        """Keep one, durably."""
        self._attempts[attempt.strategy] = attempt
        content = json.dumps({"attempts": [asdict(each) for each in self]}, indent=2) + "\n"
        replace_file(self._path, content.encode())
