"""Runs on toy data for the tests of tuning."""

from __future__ import annotations

from pathlib import Path

import torch

from models_store.strategies import make_learner
from models_store.vlsm import FrozenVLSM
from trainer.augment import Augmentation
from trainer.data.examples import Examples, load_examples
from trainer.data.folder import read_split
from trainer.tuning.loop import TuningRun

CPU = torch.device("cpu")


def toy_examples(folder: Path, vlsm: FrozenVLSM, split: str) -> Examples:
    return load_examples(read_split(folder, split), vlsm.spec)


def toy_run(folder: Path, vlsm: FrozenVLSM, state: Path, *, strategy: str = "vpt", **changes) -> TuningRun:
    """A short run on a toy dataset with its state in ``state``."""
    state.mkdir(exist_ok=True)
    options = {
        "rate": 1e-2,
        "weight_decay": 1e-4,
        "clip": 1.0,
        "epochs": 3,
        "min_epochs": 1,
        "min_steps": 4,
        "patience": 12,
        "batch_size": 4,
        "threshold": 0.5,
        "seed": 7,
        "augmentation": Augmentation(),
        "save_every": 1,
        "views": 2,
    } | changes
    learner = options.pop("learner", None)
    if learner is None:
        learner = make_learner(strategy, vlsm, depth=2, n=2, seed=7)
    return TuningRun(
        vlsm=vlsm,
        learner=learner,
        train=toy_examples(folder, vlsm, "train"),
        select=toy_examples(folder, vlsm, "val"),
        folder=state,
        device=CPU,
        **options,
    )
