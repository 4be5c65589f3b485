"""One try of a cell: tune a method under one configuration, and how it did on held-out images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from models_store.strategies.learner import PromptLearner
from models_store.vlsm import FrozenVLSM
from trainer.baselines import TUNED_BASELINES, TunedBase
from trainer.benchmark.configurations import Configuration
from trainer.benchmark.plan import LEAST_STEPS, Protocol
from trainer.tuning.data import TuningData
from trainer.tuning.devices import fabric_on
from trainer.tuning.learners import build_learner
from trainer.tuning.loop import SAVE_EVERY, Tick, TuningRun
from trainer.tuning.settings import TuneSettings

# Saved states of a baseline hold the whole base model: at the end of epochs is often enough.
SAVE_SELDOM = 10**9


@dataclass(frozen=True)
class Trial:
    """A finished try.

    Attributes:
        configuration: What was tried.
        learner: The best epoch's values.
        vlsm: The model to measure it on; a baseline's own copy.
        report: Its ``select_dice``, ``epochs``, ``best_epoch``, ``seconds`` and ``history``.
    """

    configuration: Configuration
    learner: PromptLearner
    vlsm: FrozenVLSM
    report: dict[str, Any]


def method_settings(
    method: str, configuration: Configuration, protocol: Protocol, vlsm: FrozenVLSM
) -> TuneSettings:
    """The tuning settings of a try; a depth beyond the base's layers is cut."""
    depth = configuration.depth
    return TuneSettings(
        # Of a baseline only what every strategy shares is used.
        strategy="coop" if method in TUNED_BASELINES else method,
        depth=None if depth is None else min(depth, vlsm.spec.max_depth),
        lr=configuration.lr,
        weight_decay=configuration.weight_decay,
        epochs=protocol.epochs,
        patience=protocol.patience,
        min_steps=LEAST_STEPS,
        max_steps=protocol.steps,
        batch_size=protocol.batch_size,
        augment=protocol.augment,
        seed=protocol.seed,
        prompt_key=protocol.prompt_key,
        limit=protocol.limit,
        threshold=protocol.threshold,
    )


def method_learner(method: str, settings: TuneSettings, vlsm: FrozenVLSM) -> tuple[PromptLearner, FrozenVLSM]:
    """What is tuned, and the model it is tuned on."""
    if method in TUNED_BASELINES:
        learner = TunedBase(vlsm, part=method)
        return learner, learner.vlsm
    return build_learner(settings, vlsm)[0], vlsm


def run_trial(
    method: str,
    configuration: Configuration,
    *,
    vlsm: FrozenVLSM,
    data: TuningData,
    protocol: Protocol,
    folder: Path,
    device: torch.device,
    watch: Callable[[Tick], None] | None = None,
) -> Trial:
    """Tune to the end, going on where an earlier call in the same folder was stopped."""
    settings = method_settings(method, configuration, protocol, vlsm)
    learner, tuned_on = method_learner(method, settings, vlsm)
    folder.mkdir(parents=True, exist_ok=True)
    run = TuningRun.of(
        settings,
        vlsm=tuned_on,
        learner=learner,
        train=data.train,
        select=data.select,
        folder=folder,
        fabric=fabric_on(device),
        save_every=SAVE_SELDOM if learner.tunes_base else SAVE_EVERY,
    )
    run.run(watch)
    progress = run.progress
    report = {
        "configuration": configuration.row(),
        "select_dice": progress.best_dice,
        "epochs": progress.epoch,
        "best_epoch": progress.best_epoch,
        "seconds": progress.seconds,
        "history": [asdict(record) for record in progress.history],
    }
    return Trial(configuration, learner, tuned_on, report)
