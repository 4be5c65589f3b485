"""A search: one study that several processes share and that goes on where it was stopped."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from lightning_fabric import Fabric
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from models_store.errors import BadInputError, MismatchError, StudioError
from models_store.vlsm import FrozenVLSM
from trainer.feature_cache import CacheBudget
from trainer.search.spaces import distribution, space_of, with_values
from trainer.tuning.data import TuningData, load_tuning_data
from trainer.tuning.learners import build_learner
from trainer.tuning.loop import TuningRun
from trainer.tuning.settings import TuneSettings

JOURNAL = "study.log"
WORKER, REASON, DICE = "worker", "reason", "selection_dice"


@dataclass(frozen=True)
class SearchResult:
    """A study so far.

    Attributes:
        name, folder: Of the study.
        trials: How many are complete.
        failed: How many came to no result.
        values: The best trial's settings; empty if none is complete.
        loss, dice: Its lowest loss on the selection images, and its best Dice there.
    """

    name: str
    folder: Path
    trials: int
    failed: int
    values: dict[str, Any] = field(default_factory=dict)
    loss: float | None = None
    dice: float | None = None

    def text(self) -> str:
        """For a console."""
        failed = f", {self.failed} without result" if self.failed else ""
        if self.loss is None:
            return f"study {self.name}: no complete trial{failed}"
        values = ", ".join(
            f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
            for name, value in self.values.items()
        )
        return (
            f"study {self.name}: {self.trials} trials{failed}; best selection loss {self.loss:.4f}, "
            f"Dice {self.dice:.3f} with {values}"
        )


class SharedStudy:
    """A study in a folder, asked for one trial at a time by any number of processes of a machine.

    A journal holds the trials. Workers take them in turn under a lock, so that there are never more
    than asked for; a worker that died is found by its own lock having been let go, and its trial's
    values are tried again. Trial k draws from (seed, k), whoever runs it.

    Args:
        folder: Where the study lies.
        name: Its name.
        space: Distributions by name.
        trials: How many trials there are to be in all.
        random_first: How many of them are drawn at random before earlier ones are learned from.
        seed: Seed of all draws.
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str,
        space: Mapping[str, optuna.distributions.BaseDistribution],
        trials: int,
        random_first: int,
        seed: int,
    ):
        if trials < 1:
            raise BadInputError(f"{trials} trials are too few; at least 1")
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.name, self.space = folder, name, dict(space)
        self._trials, self._random_first, self._seed = trials, random_first, seed
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with self._turn():
            self._storage = JournalStorage(JournalFileBackend(str(folder / JOURNAL)))
            self._open(0)
        self._worker = uuid.uuid4().hex
        self._held = (folder / f"{self._worker}.lock").open("w")
        flock(self._held, LOCK_EX)

    def close(self) -> None:
        """Let go of the worker's lock."""
        self._held.close()
        (self.folder / f"{self._worker}.lock").unlink(missing_ok=True)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        with (self.folder / ".turn").open("w") as handle:
            flock(handle, LOCK_EX)
            yield

    def _open(self, number: int) -> optuna.Study:
        seed = int(np.random.SeedSequence([self._seed, number]).generate_state(1)[0])
        sampler = optuna.samplers.TPESampler(
            multivariate=True, n_startup_trials=self._random_first, seed=seed
        )
        return optuna.create_study(
            storage=self._storage, study_name=self.name, sampler=sampler, load_if_exists=True
        )

    def ask(self) -> Trial | None:
        """The next trial, or None if as many as wanted are done or under way."""
        with self._turn():
            study = self._open(0)
            for lost in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                if self._is_dead(lost):
                    study.tell(lost.number, state=TrialState.FAIL)
                    study.enqueue_trial(lost.params)
            taken = [t for t in study.get_trials(deepcopy=False) if self._counts(t)]
            if len(taken) >= self._trials:
                return None
            trial = self._open(len(taken)).ask(self.space)
            trial.set_user_attr(WORKER, self._worker)
            return trial

    def tell(self, trial: Trial, loss: float, dice: float) -> None:
        """A trial's result; lower losses are better."""
        trial.set_user_attr(DICE, dice)
        self._open(0).tell(trial.number, loss)

    def give_up(self, trial: Trial, reason: str) -> None:
        """A trial came to nothing; it counts, and the reason is kept."""
        trial.set_user_attr(REASON, reason)
        self._open(0).tell(trial.number, state=TrialState.FAIL)

    def result(self) -> SearchResult:
        """The study so far."""
        trials = self._open(0).get_trials(deepcopy=False)
        complete = [t for t in trials if t.state is TrialState.COMPLETE]
        failed = sum(t.state is TrialState.FAIL and self._counts(t) for t in trials)
        if not complete:
            return SearchResult(self.name, self.folder, 0, failed)
        best = min(complete, key=lambda t: t.values[0])
        return SearchResult(
            self.name,
            self.folder,
            len(complete),
            failed,
            dict(best.params),
            best.values[0],
            best.user_attrs[DICE],
        )

    def _counts(self, trial: FrozenTrial) -> bool:
        """Whether a trial is one of those wanted; one that failed for no reason was its worker's end."""
        if trial.state is TrialState.FAIL:
            return REASON in trial.user_attrs
        return trial.state is not TrialState.WAITING

    def _is_dead(self, trial: FrozenTrial) -> bool:
        path = self.folder / f"{trial.user_attrs.get(WORKER)}.lock"
        if not path.is_file():
            return True
        with path.open("r+") as handle:
            try:
                flock(handle, LOCK_EX | LOCK_NB)
            except BlockingIOError:
                return False
        path.unlink(missing_ok=True)
        return True


def search(
    dataset_folder: Path,
    *,
    vlsm: FrozenVLSM,
    settings: TuneSettings,
    state: Path,
    trials: int = 20,
    random_first: int = 10,
    seed: int = 12345,
    name: str | None = None,
    changes: Mapping[str, Any] | None = None,
    cache: CacheBudget | None = None,
    fabric: Fabric | None = None,
    watch: Callable[[SearchResult], None] | None = None,
) -> SearchResult:
    """Search a strategy's space for the lowest loss on held-out training images; ``val`` is not read.

    The same call in several processes shares the trials between them, and goes on where all were
    stopped. TPE, multivariate, as the benchmark.

    Args:
        dataset_folder: See :func:`trainer.tune.tune`.
        vlsm: The frozen model.
        settings: What is not searched.
        state: The study lies in its ``searches``.
        trials: How many in all.
        random_first: How many of them are drawn at random.
        seed: Of the draws.
        name: Of the study; default made of dataset, model, strategy and the settings' digest.
        changes: Changes to the space; see :func:`trainer.search.spaces.space_of`.
        cache: See :func:`trainer.tune.tune`.
        fabric: Device and precision.
        watch: Told of the study after every trial.

    Raises:
        StudioError: Data, settings or space cannot be used.
    """
    settings = replace(settings, select_on="holdout")
    settings.check()
    space = {
        key: distribution(key, entry)
        for key, entry in space_of(settings.strategy, vlsm.spec, changes).items()
    }
    data = load_tuning_data(dataset_folder, vlsm.spec, settings)
    tried_on = {part: digest for part, digest in data.digests.items() if part != "val"}
    identity = settings.run_id(base=vlsm.spec.digest, **tried_on)
    name = name or f"{dataset_folder.resolve().name}-{settings.strategy}-{identity}"
    study = SharedStudy(
        state / "searches" / name,
        name=name,
        space=space,
        trials=trials,
        random_first=random_first,
        seed=seed,
    )
    try:
        while (trial := study.ask()) is not None:
            folder = study.folder / f"trial-{trial.number}-{os.getpid()}"
            try:
                tried = with_values(settings, trial.params)
                loss, dice = _try(vlsm, data, tried, folder, cache, fabric)
                study.tell(trial, loss, dice)
            except MismatchError:
                raise
            except StudioError as error:
                study.give_up(trial, str(error))
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            if watch is not None:
                watch(study.result())
        return study.result()
    finally:
        study.close()


def _try(
    vlsm: FrozenVLSM,
    data: TuningData,
    settings: TuneSettings,
    folder: Path,
    cache: CacheBudget | None,
    fabric: Fabric | None,
) -> tuple[float, float]:
    """Train on a trial's settings: the lowest selection loss and the best selection Dice."""
    folder.mkdir(parents=True)
    learner, _ = build_learner(settings, vlsm)
    run = TuningRun.of(
        settings,
        vlsm=vlsm,
        learner=learner,
        train=data.train,
        select=data.select,
        folder=folder,
        cache=cache,
        fabric=fabric,
    )
    run.run()
    history = run.progress.history
    return min(record.select_loss for record in history), run.progress.best_dice
