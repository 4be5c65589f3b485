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

import torch
from torch import Tensor

from models_store.errors import BadInputError, DamagedError
from models_store.files import replace_file

STATE = "state.pt"
LOCK = ".lock"
FORMAT = 2


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
        BadInputError: Another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a") as handle:
        try:
            flock(handle, LOCK_EX | LOCK_NB)
        except BlockingIOError as error:
            raise BadInputError(
                f"the same tuning run is under way in another process (it holds {folder})"
            ) from error
        yield folder


def remove_run(folder: Path) -> None:
    """Remove a finished run's folder."""
    shutil.rmtree(folder)
