"""Loggers read back with their own readers."""

import csv
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from models_store.errors import UnknownNameError
from trainer.tuning.logs import HISTORY, MLFLOW_FILE, open_logger
from trainer.tuning.state import EpochRecord

RECORDS = [
    EpochRecord(epoch=0, train_loss=0.9, select_loss=0.8, select_dice=0.25, lr=0.01),
    EpochRecord(epoch=1, train_loss=0.5, select_loss=0.6, select_dice=0.75, lr=0.001),
]


def write(kind: str, folder: Path) -> None:
    logger = open_logger(kind, folder, project="proj", name="first", settings={"strategy": "vpt", "lr": 0.01})
    for record in RECORDS:
        logger.epoch(record)
    logger.close()


def test_csv(tmp_path: Path) -> None:
    write("csv", tmp_path)
    with (tmp_path / HISTORY).open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["select_dice"]) for row in rows] == [0.25, 0.75]


def test_tensorboard(tmp_path: Path) -> None:
    write("tensorboard", tmp_path)
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("select_dice")] == [(0, 0.25), (1, 0.75)]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's own.
def test_mlflow(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow", reason="the package mlflow (extra mlflow) is not installed")
    write("mlflow", tmp_path)
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / MLFLOW_FILE}")
    experiment = client.get_experiment_by_name("proj")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == "first"
    assert run.info.status == "FINISHED"
    assert run.data.params["strategy"] == "vpt"
    assert [m.value for m in client.get_metric_history(run.info.run_id, "select_dice")] == [0.25, 0.75]


def test_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb", reason="the package wandb (extra wandb) is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    write("wandb", tmp_path)
    # Its service writes the file in its own time, at the latest when it ends.
    wandb.teardown()
    (path,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    content = path.read_bytes()
    assert all(word in content for word in (b"select_dice", b"0.75", b"vpt"))


def test_unknown_kind(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="there are csv, tensorboard, wandb, mlflow"):
        open_logger("stone", tmp_path)
