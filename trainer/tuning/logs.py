"""Where a run's epochs are written down: always CSV, and what else is asked for."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from models_store.errors import BadInputError, UnknownNameError
from models_store.files import replace_file
from trainer.tuning.state import EpochRecord

HISTORY = "history.csv"
KINDS = ("csv", "tensorboard", "wandb", "mlflow")
MLFLOW_FILE = "mlflow.db"


class RunLogger(Protocol):
    """Told of each epoch, of a resumed run's earlier ones first, and of the end."""

    def epoch(self, record: EpochRecord) -> None: ...

    def close(self) -> None: ...


def history_csv(history: Sequence[EpochRecord]) -> bytes:
    """Epochs as a table with a header."""
    content = io.StringIO()
    table = csv.DictWriter(content, [field.name for field in fields(EpochRecord)], lineterminator="\n")
    table.writeheader()
    table.writerows(asdict(record) for record in history)
    return content.getvalue().encode()


class CSVLog:
    """A table that is rewritten whole after every epoch, so that it is never half a line."""

    def __init__(self, folder: Path):
        self._path, self._history = folder / HISTORY, list[EpochRecord]()

    def epoch(self, record: EpochRecord) -> None:
        self._history.append(record)
        replace_file(self._path, history_csv(self._history))

    def close(self) -> None:
        """Nothing is open."""


class TensorBoardLog:
    """Event files for TensorBoard."""

    def __init__(self, folder: Path):
        _needed("tensorboard", "tensorboard")
        self._writer = import_module("torch.utils.tensorboard").SummaryWriter(str(folder))

    def epoch(self, record: EpochRecord) -> None:
        for name, value in _values(record).items():
            self._writer.add_scalar(name, value, record.epoch)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class WandbLog:
    """A run of Weights & Biases."""

    def __init__(self, folder: Path, *, project: str, name: str, settings: Mapping[str, Any]):
        wandb = _needed("wandb", "wandb")
        self._run = wandb.init(project=project, name=name, dir=str(folder), config=dict(settings))

    def epoch(self, record: EpochRecord) -> None:
        self._run.log(_values(record), step=record.epoch)

    def close(self) -> None:
        self._run.finish()


class MLflowLog:
    """A run of MLflow, by default in a database file in the folder."""

    def __init__(
        self, folder: Path, *, project: str, name: str, settings: Mapping[str, Any], uri: str | None = None
    ):
        self._mlflow = _needed("mlflow", "mlflow")
        self._mlflow.set_tracking_uri(uri or f"sqlite:///{(folder / MLFLOW_FILE).resolve()}")
        self._mlflow.set_experiment(project)
        self._mlflow.start_run(run_name=name)
        self._mlflow.log_params(dict(settings))

    def epoch(self, record: EpochRecord) -> None:
        self._mlflow.log_metrics(_values(record), step=record.epoch)

    def close(self) -> None:
        self._mlflow.end_run()


def open_logger(
    kind: str,
    folder: Path,
    *,
    project: str = "tunevlseg",
    name: str = "run",
    settings: Mapping[str, Any] | None = None,
    uri: str | None = None,
) -> RunLogger:
    """A logger by its name.

    Args:
        kind: ``csv``, ``tensorboard``, ``wandb`` or ``mlflow``.
        folder: Where its files go.
        project: What Weights & Biases and MLflow file the run under.
        name: The run's name there.
        settings: Shown with the run.
        uri: MLflow's server.

    Raises:
        UnknownNameError: There is no such logger.
        BadInputError: Its package is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "csv":
        return CSVLog(folder)
    if kind == "tensorboard":
        return TensorBoardLog(folder)
    if kind == "wandb":
        return WandbLog(folder, project=project, name=name, settings=settings or {})
    if kind == "mlflow":
        return MLflowLog(folder, project=project, name=name, settings=settings or {}, uri=uri)
    raise UnknownNameError(f"no logger {kind!r}; there are {', '.join(KINDS)}")


def _values(record: EpochRecord) -> dict[str, float]:
    return {name: value for name, value in asdict(record).items() if name != "epoch"}


def _needed(module: str, package: str) -> ModuleType:
    try:
        return import_module(module)
    except ImportError as error:
        raise BadInputError(
            f"this logger needs the package {package}: install it (pip install {package}) or choose csv"
        ) from error
