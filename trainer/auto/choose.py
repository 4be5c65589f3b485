"""Tune with each strategy of a list, as far as time goes, and keep the best."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from models_store.errors import BadInputError, DamagedError
from models_store.strategies import strategies_for
from models_store.strategies.learner import PromptLearner
from models_store.vlsm import FrozenVLSM
from trainer.auto.attempts import Attempt, AttemptLog
from trainer.feature_cache import CacheBudget, FeatureCache
from trainer.tuning.data import TuningData
from trainer.tuning.features import SourceKey
from trainer.tuning.learners import build_learner
from trainer.tuning.loop import CACHE_DTYPES, DivergedError
from trainer.tuning.schedule import Schedule, row_seconds, schedule_for
from trainer.tuning.settings import TuneSettings
from trainer.tuning.start import WarmStart
from trainer.tuning.state import Progress, load_state
from trainer.tuning.train import train
from trainer.tuning.watch import Watch

SCHEDULED = tuple(field.name for field in fields(Schedule))
# Fewer steps move prompts too little to say what a strategy can do.
WORTHWHILE_STEPS = 40


@dataclass(frozen=True)
class Chosen:
    """The best attempt.

    Attributes:
        learner: With its best epoch's values.
        options: The arguments that build it again.
        settings: Those that lead to the same values without a budget: its epochs are those it got.
        progress: How it went.
        attempts: All attempts, in the order of the list.
        start: What it started from, if that was a checkpoint.
    """

    learner: PromptLearner
    options: dict[str, Any]
    settings: TuneSettings
    progress: Progress
    attempts: tuple[Attempt, ...] = ()
    start: WarmStart | None = None


class Attempts:
    """Attempts in a run's folder: finished ones are kept, one that was stopped goes on.

    The schedule of each follows from the data and the budget alone; the clock decides how many of its
    epochs there are, and what is not tried. So a slower machine tries less of the same, never something else.

    Args:
        vlsm: The frozen model.
        data: What to tune and to choose on.
        settings: Common to all; the strategy is set for each.
        budget: Seconds for all, training and selection.
        fixed: Names of settings that the schedule leaves as they are.
        folder: Of the run.
        fabric: Device and precision.
        watch: Whom to tell.
        cache: How much frozen work to keep at a time.
        start: A checkpoint whose strategy starts from its values.
    """

    def __init__(
        self,
        *,
        vlsm: FrozenVLSM,
        data: TuningData,
        settings: TuneSettings,
        budget: float,
        folder: Path,
        fabric: Fabric,
        watch: Watch,
        fixed: Collection[str] = (),
        cache: CacheBudget | None = None,
        start: WarmStart | None = None,
    ):
        self._vlsm, self._data, self._settings, self._budget = vlsm, data, settings, budget
        self._fixed, self._folder, self._fabric, self._watch = fixed, folder, fabric, watch
        self._cache, self._start = cache or CacheBudget(), start
        self._log = AttemptLog(folder)
        self._kept: tuple[tuple[int, bool], FeatureCache[SourceKey, Any]] | None = None

    def best_of(self, strategies: Sequence[str]) -> Chosen:
        """Try the strategies in their order; of equals the earlier is kept.

        Raises:
            BadInputError: None of them could be tuned.
        """
        for strategy in strategies:
            if strategy not in self._log:
                attempt = self._attempt(strategy)
                self._log.add(attempt)
                if self._watch.tried is not None:
                    self._watch.tried(attempt)
        tried = [attempt for attempt in self._log if attempt.dice is not None]
        if not tried:
            told = "; ".join(attempt.text() for attempt in self._log)
            raise BadInputError(f"no strategy could be tuned ({told})")
        return self._chosen(max(tried, key=lambda attempt: attempt.dice or 0.0))

    def settings_for(self, strategy: str) -> TuneSettings:
        """The settings of a strategy's attempt."""
        train = self._data.train
        schedule = schedule_for(
            images=len(train.rows_by_image()), rows=len(train), strategy=strategy, seconds=self._budget
        ).settings()
        changes = {name: value for name, value in schedule.items() if name not in self._fixed}
        settings = replace(self._settings, strategy=strategy, **changes)
        return settings if self._start is None or not self._warm(strategy) else self._start.fitted(settings)

    def _attempt(self, strategy: str) -> Attempt:
        taken = strategies_for(self._vlsm.spec)
        if strategy not in taken:
            why = f"{self._vlsm.spec.name} has no place for visual prompts; it takes {', '.join(taken)}"
            return Attempt(strategy, "skipped", why)
        settings, warm = self.settings_for(strategy), self._warm(strategy)
        settings.check()
        left, needed = self._budget - self._log.seconds, self._needed(settings)
        # The first is tried however little time there is, or there would be nothing.
        if needed > left and any(attempt.dice is not None for attempt in self._log):
            why = f"{left:.0f} s are left, and {WORTHWHILE_STEPS} steps would take about {needed:.0f} s"
            return Attempt(strategy, "skipped", why, warm=warm)
        schedule = {name: getattr(settings, name) for name in SCHEDULED}
        started = time.monotonic()
        try:
            progress = self._train(settings, warm, left)
        except DivergedError as error:
            spent = round(time.monotonic() - started, 2)
            return Attempt(strategy, "failed", str(error), warm=warm, schedule=schedule, seconds=spent)
        return Attempt(
            strategy,
            "tried",
            progress.ended,
            warm=warm,
            schedule=schedule,
            epochs=progress.epoch,
            steps=progress.steps,
            best_epoch=progress.best_epoch,
            dice=progress.best_dice,
            loss=progress.best_loss,
            seconds=round(progress.seconds, 2),
        )

    def _train(self, settings: TuneSettings, warm: bool, seconds: float) -> Progress:
        learner, _ = self._learner(settings)
        folder = self._folder / settings.strategy
        folder.mkdir(exist_ok=True)
        return train(
            learner,
            self._data,
            settings,
            vlsm=self._vlsm,
            folder=folder,
            fabric=self._fabric,
            watch=self._watch,
            kept=self._features(learner),
            seconds=seconds,
            warm=warm,
        )

    def _needed(self, settings: TuneSettings) -> float:
        """Seconds that steps enough to judge a strategy by would take here, going by those tried before."""
        tried = [attempt for attempt in self._log if attempt.steps]
        typical = sum(a.steps * a.schedule["batch_size"] * row_seconds(a.strategy) for a in tried)
        slowness = sum(a.seconds for a in tried) / typical if tried else 1.0
        return WORTHWHILE_STEPS * settings.batch_size * row_seconds(settings.strategy) * slowness

    def _warm(self, strategy: str) -> bool:
        return self._start is not None and self._start.checkpoint.config.strategy == strategy

    def _learner(self, settings: TuneSettings) -> tuple[PromptLearner, dict[str, Any]]:
        learner, options = build_learner(settings, self._vlsm)
        if self._start is not None and self._warm(settings.strategy):
            self._start.load_into(learner)
        return learner, options

    def _features(self, learner: PromptLearner) -> FeatureCache[SourceKey, Any]:
        """Kept frozen work, which strategies that encode images alike share; others start anew."""
        pack = learner.pack()
        alike = (0 if pack.visual is None else len(pack.visual), pack.needs_pooled)
        if self._kept is None or self._kept[0] != alike:
            # On disk the new file takes the old one's place.
            kept: FeatureCache[SourceKey, Any] = FeatureCache(
                self._cache,
                folder=self._folder / "kept",
                dtype=CACHE_DTYPES[self._settings.cache_dtype],
            )
            self._kept = (alike, kept)
        return self._kept[1]

    def _chosen(self, best: Attempt) -> Chosen:
        settings = self.settings_for(best.strategy)
        learner, options = self._learner(settings)
        state = load_state(self._folder / best.strategy, self._fabric.device)
        if state is None:
            raise DamagedError(f"{self._folder / best.strategy} lacks its state; delete {self._folder}")
        learner.to(self._fabric.device).load_state_dict(state.best)
        return Chosen(
            learner,
            options,
            replace(settings, epochs=state.progress.epoch),
            state.progress,
            tuple(self._log),
            self._start if best.warm else None,
        )
