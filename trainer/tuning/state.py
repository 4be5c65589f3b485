"""A run's state on disk: written whole or not at all, so that a kill at any moment can be survived."""

from __future__ import annotations

import io
import pickle
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models_store.errors import BadInputError, DamagedError
from models_store.files import replace_file

STATE = "state.pt"
LOCK = ".lock"
FORMAT = 2
# A selection loss counts as lower by at least this.
STOP_DELTA = 1e-4
EPOCHS, PATIENCE, TIME = "epochs", "patience", "time"


class RunHeldError(BadInputError):
    """Another process is at the same run."""


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch came to."""

    epoch: int
    train_loss: float
    select_loss: float
    select_dice: float
    lr: float


@dataclass
class Progress:
    """Where a run is, apart from its tensors.

    Attributes:
        epoch: Epochs completed.
        step: Steps completed of the epoch under way.
        losses: Losses of those steps.
        history: One record per completed epoch.
        best_dice, best_epoch: The best epoch on the selection images so far.
        best_loss, stale: The lowest selection loss and how many epochs ago it was.
        done: Training has ended; only publishing may be left.
        seconds: Time spent training, over all sessions.
        steps: Steps completed in all.
        ended: By what: ``epochs``, ``patience`` or ``time``; empty while it goes on.
    """

    epoch: int = 0
    step: int = 0
    losses: list[float] = field(default_factory=list)
    history: list[EpochRecord] = field(default_factory=list)
    best_dice: float = -1.0
    best_epoch: int = 0
    best_loss: float = float("inf")
    stale: int = 0
    done: bool = False
    seconds: float = 0.0
    steps: int = 0
    ended: str = ""

    @property
    def seconds_with_another_epoch(self) -> float:
        """What time there would be spent after one more epoch as long as those before, on average."""
        return self.seconds * (self.epoch + 1) / max(1, self.epoch)

    def start(self, loss: float, dice: float) -> None:
        """Count the values a run starts with as epoch 0."""
        self.best_loss, self.best_dice, self.best_epoch = loss, dice, 0

    def complete_epoch(self, *, select_loss: float, select_dice: float, lr: float) -> bool:
        """Record an epoch; true if it is the best so far on the selection images."""
        self.epoch += 1
        train_loss = float(np.mean(self.losses))
        self.history.append(EpochRecord(self.epoch, train_loss, select_loss, select_dice, lr))
        self.step, self.losses = 0, []
        if select_loss < self.best_loss - STOP_DELTA:
            self.best_loss, self.stale = select_loss, 0
        else:
            self.stale += 1
        if select_dice <= self.best_dice:
            return False
        self.best_dice, self.best_epoch = select_dice, self.epoch
        return True

    def end(self, *, epochs: int, min_epochs: int, patience: int, late: bool) -> None:
        """End training after an epoch if it was the last, brought nothing new, or time is up."""
        if self.epoch >= epochs:
            self.ended = EPOCHS
        elif self.stale >= patience and self.epoch >= min_epochs:
            self.ended = PATIENCE
        elif late:
            self.ended = TIME
        self.done = bool(self.ended)


@dataclass(frozen=True)
class SavedState:
    """All that is needed to go on."""

    progress: Progress
    learner: dict[str, Tensor]
    best: dict[str, Tensor]
    optimizer: dict[str, Any]
    scheduler: dict[str, Any]
    scaler: dict[str, Any]


def save_state(folder: Path, state: SavedState) -> None:
    """Replace the state in a run's folder."""
    content = io.BytesIO()
    plain = {
        "format": FORMAT,
        "progress": asdict(state.progress),
        "learner": state.learner,
        "best": state.best,
        "optimizer": state.optimizer,
        "scheduler": state.scheduler,
        "scaler": state.scaler,
    }
    torch.save(plain, content)
    replace_file(folder / STATE, content.getvalue())


def load_state(folder: Path, device: torch.device) -> SavedState | None:
    """The state in a run's folder, or None where there is none.

    Raises:
        DamagedError: The file does not parse.
    """
    path = folder / STATE
    if not path.is_file():
        return None
    try:
        raw = torch.load(path, map_location=device, weights_only=True)
        if raw["format"] != FORMAT:
            raise DamagedError(f"{path} has format {raw['format']}; this version reads {FORMAT}")
        history = [EpochRecord(**record) for record in raw["progress"].pop("history")]
        progress = Progress(history=history, **raw["progress"])
        tensors = (raw[name] for name in ("learner", "best", "optimizer", "scheduler", "scaler"))
        return SavedState(progress, *tensors)
    except (RuntimeError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
        raise DamagedError(f"{path} cannot be read; delete {folder} to start anew ({error})") from error


@contextmanager
def run_folder(folder: Path) -> Iterator[Path]:
    """A run's folder, held against a second process with the same settings.

    Raises:
        RunHeldError: Another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a") as handle:
        try:
            flock(handle, LOCK_EX | LOCK_NB)
        except BlockingIOError as error:
            raise RunHeldError(
                f"the same tuning run is under way in another process (it holds {folder})"
            ) from error
        yield folder


def remove_run(folder: Path) -> None:
    """Remove a finished run's folder."""
    shutil.rmtree(folder)
