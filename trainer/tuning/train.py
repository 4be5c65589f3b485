"""Training one learner in a folder, watched."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from models_store.strategies.learner import PromptLearner
from models_store.vlsm import FrozenVLSM
from trainer.feature_cache import CacheBudget, FeatureCache
from trainer.tuning.data import TuningData
from trainer.tuning.features import SourceKey
from trainer.tuning.logs import RunLogger
from trainer.tuning.loop import Tick, TuningRun
from trainer.tuning.settings import TuneSettings
from trainer.tuning.state import Progress
from trainer.tuning.watch import Watch


def train(
    learner: PromptLearner,
    data: TuningData,
    settings: TuneSettings,
    *,
    vlsm: FrozenVLSM,
    folder: Path,
    fabric: Fabric,
    watch: Watch,
    cache: CacheBudget | None = None,
    kept: FeatureCache[SourceKey, Any] | None = None,
    loggers: Sequence[RunLogger] = (),
    seconds: float | None = None,
    warm: bool = False,
) -> Progress:
    """Train to the end, from where the folder's state was left; the learner has the best epoch's values then.

    Args:
        learner: What is trained.
        data: What it is trained and selected on.
        settings: Of the run.
        vlsm: The frozen model.
        folder: Of the run.
        fabric: Devices and precision.
        watch: Whom to tell.
        cache: How much frozen work to keep.
        kept: Where it is kept instead, so that runs share it.
        loggers: Told of every epoch, of those before a stop too.
        seconds: Training ends before an epoch that would probably take it beyond so many; None: never.
        warm: Whether the learner's first values may turn out best.
    """
    run = TuningRun.of(
        settings,
        vlsm=vlsm,
        learner=learner,
        train=data.train,
        select=data.select,
        folder=folder,
        cache=cache,
        fabric=fabric,
        seconds=seconds,
        keep_start=warm,
        kept=kept,
    )
    if watch.trying is not None:
        watch.trying(settings.strategy, settings.epochs)
    if watch.resumed is not None and (run.progress.epoch or run.progress.step):
        watch.resumed(run.progress.epoch, run.progress.step)

    def tell(tick: Tick) -> None:
        if tick.dice is not None:
            for logger in loggers:
                logger.epoch(run.progress.history[-1])
        if watch.training is not None:
            watch.training(tick)

    for logger in loggers:
        for record in run.progress.history:
            logger.epoch(record)
    run.run(tell)
    return run.progress
