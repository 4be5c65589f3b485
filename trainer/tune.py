"""Tune one prompt checkpoint on a dataset folder and publish it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from models_store.checkpoints import CheckpointConfig
from models_store.errors import BadInputError
from models_store.packs import PromptPack
from models_store.registry import Registry, check_dataset_name
from models_store.vlsm import FrozenVLSM
from trainer.auto.attempts import Attempt
from trainer.auto.choose import Attempts, Chosen
from trainer.feature_cache import CacheBudget
from trainer.tuning.data import TuningData, load_tuning_data
from trainer.tuning.devices import agreed, fabric_on, shared_folder
from trainer.tuning.judge import judged_checkpoint
from trainer.tuning.learners import build_learner
from trainer.tuning.logs import RunLogger
from trainer.tuning.publish import Aliases, Published, publish
from trainer.tuning.settings import TuneSettings
from trainer.tuning.start import WarmStart
from trainer.tuning.state import remove_run
from trainer.tuning.strategies import check_strategy
from trainer.tuning.train import train
from trainer.tuning.watch import Watch

__all__ = ["DEFAULT_BUDGET", "TuneResult", "Watch", "tune"]

DEFAULT_BUDGET = 120.0


@dataclass(frozen=True)
class TuneResult:
    """A finished run.

    Attributes:
        published: The version, and whether it is champion.
        folder: Its folder.
        report: Content of its ``eval.json``.
        config: Content of its ``adapter_config.json``.
        pack: What it serves.
        settings: Those that give the same pack again without a budget.
        attempts: What was tried, skipped and why; empty without a budget.
    """

    published: Published
    folder: Path
    report: dict[str, Any]
    config: CheckpointConfig
    pack: PromptPack
    settings: TuneSettings
    attempts: tuple[Attempt, ...] = ()


def tune(
    dataset_folder: Path,
    *,
    vlsm: FrozenVLSM,
    data_dir: Path,
    settings: TuneSettings,
    strategies: Sequence[str] | None = None,
    budget: float | None = None,
    fixed: Collection[str] = (),
    warm_start: str | None = None,
    name: str | None = None,
    device: torch.device | None = None,
    aliases: Aliases = "auto",
    watch: Watch | None = None,
    cache: CacheBudget | None = None,
    fabric: Fabric | None = None,
    loggers: Sequence[RunLogger] = (),
    about: Mapping[str, str] | None = None,
) -> TuneResult:
    """Tune, measure on ``val`` and publish; goes on where the same call was stopped before.

    Args:
        dataset_folder: A folder in the benchmark's layout with splits ``train`` and ``val``.
        vlsm: The frozen model, on ``device``.
        data_dir: The registry lies in its ``registry``, unfinished runs in its ``runs``.
        settings: What decides the outcome.
        strategies: To try in this order instead of the settings' one, keeping the one with the highest
            Dice on images held out of ``train``; see :func:`trainer.auto.strategies.strategies_to_try`.
        budget: Seconds of training and selection. Schedules then follow from it and the size of the
            data instead of from the settings. None: no budget, or two minutes with ``strategies``.
        fixed: Names of settings that are kept as they are under a budget, such as ``batch_size``.
        warm_start: A checkpoint of the registry whose values its strategy starts from, as ``dataset``,
            ``dataset@alias`` or ``dataset/version``. Other strategies of a list start anew.
        name: The dataset's name in the registry; default the folder's.
        device: Where to train; default the processor.
        aliases: Which aliases move; see :func:`trainer.tuning.publish.publish`.
        watch: Whom to tell about progress.
        cache: How much frozen work to keep; what is kept changes no result.
        fabric: Several devices, or processes of which each calls this and gets the same result.
            Its precision is to be the settings'.
        loggers: Told of every epoch of a run without budget.
        about: Further members of the checkpoint's ``data``, such as the dataset's revision; they change
            no value and not the identity of the run.

    Raises:
        StudioError: The data, the settings, the name or the warm start cannot be used; nothing is published.
    """
    settings.check()
    dataset = name or dataset_folder.resolve().name
    check_dataset_name(dataset)
    listed = _strategies(settings, strategies)
    if strategies is not None and budget is None:
        budget = DEFAULT_BUDGET
    fabric, watch = fabric or fabric_on(device or torch.device("cpu"), settings.precision), watch or Watch()
    if budget is not None:
        _check_budget(budget, settings, fabric)
    registry = Registry(data_dir / "registry")
    start = None if warm_start is None else WarmStart.open(registry, warm_start, vlsm.spec)
    if start is not None:
        listed = _with_start(settings, listed, start, free=strategies is not None)
    data = _load(dataset_folder, vlsm, settings, start, watch)
    identity = settings.run_id(base=vlsm.spec.digest, **data.digests, **_beyond(listed, budget, fixed, start))
    kind = settings.strategy if strategies is None else "auto"
    with shared_folder(data_dir / "runs" / f"{dataset}-{kind}-{identity}", fabric) as folder:
        if budget is None:
            chosen = _tune_one(settings, start, data, vlsm, folder, fabric, cache, watch, loggers)
        else:
            chosen = Attempts(
                vlsm=vlsm,
                data=data,
                settings=settings,
                budget=budget,
                folder=folder,
                fabric=fabric,
                watch=watch,
                fixed=fixed,
                cache=cache,
                start=start,
            ).best_of(listed)
        result: TuneResult | None = None
        if fabric.global_rank == 0:
            new = judged_checkpoint(
                chosen,
                data,
                vlsm=vlsm,
                dataset=dataset,
                run=identity,
                device=fabric.device,
                known=data_dir / "zero-shot",
                watch=watch,
                budget=budget,
                about=about,
            )
            published = publish(registry, dataset, new, run=identity, aliases=aliases)
            remove_run(folder)
            result = TuneResult(
                published,
                registry.folder(published.reference),
                new.evaluation,
                new.config,
                new.pack,
                chosen.settings,
                chosen.attempts,
            )
    return agreed(fabric, result)


def _strategies(settings: TuneSettings, strategies: Sequence[str] | None) -> tuple[str, ...]:
    if strategies is None:
        return (settings.strategy,)
    if not strategies:
        raise BadInputError("there is no strategy to try")
    for strategy in strategies:
        check_strategy(strategy)
    if settings.options or settings.initial_phrase is not None:
        raise BadInputError(
            "options of single strategies and initial phrases go with one strategy, not a list"
        )
    return tuple(dict.fromkeys(strategies))


def _check_budget(budget: float, settings: TuneSettings, fabric: Fabric) -> None:
    if not 0 < budget < float("inf"):
        raise BadInputError(f"a budget of {budget} seconds is not above 0")
    if settings.select_on != "holdout":
        raise BadInputError(
            "within a budget, epochs and strategies are chosen on images held out of train; select_on "
            f"{settings.select_on!r} would choose on those that figures are reported on"
        )
    if fabric.world_size > 1:
        raise BadInputError(f"a budget is kept on one device, not on {fabric.world_size}")


def _with_start(
    settings: TuneSettings, listed: tuple[str, ...], start: WarmStart, *, free: bool
) -> tuple[str, ...]:
    """The list with the warm start's strategy first, after checking that its values fit."""
    own = start.checkpoint.config.strategy
    start.fitted(replace(settings, strategy=own) if free else settings)
    return tuple(dict.fromkeys((own, *listed)))


def _load(
    folder: Path, vlsm: FrozenVLSM, settings: TuneSettings, start: WarmStart | None, watch: Watch
) -> TuningData:
    seen = frozenset[str]() if start is None or start.trained_on is None else start.trained_on
    data = load_tuning_data(folder, vlsm.spec, settings, watch.loading, seen)
    if watch.warned is not None:
        for warning in data.warnings:
            watch.warned(warning)
    return data


def _beyond(
    listed: tuple[str, ...], budget: float | None, fixed: Collection[str], start: WarmStart | None
) -> dict[str, str]:
    """What decides the outcome beyond settings, base and data."""
    told = {} if start is None else {"start": start.checkpoint.config.pack_digest}
    if budget is not None:
        told |= {"strategies": ",".join(listed), "budget": str(budget), "fixed": ",".join(sorted(fixed))}
    return told


def _tune_one(
    settings: TuneSettings,
    start: WarmStart | None,
    data: TuningData,
    vlsm: FrozenVLSM,
    folder: Path,
    fabric: Fabric,
    cache: CacheBudget | None,
    watch: Watch,
    loggers: Sequence[RunLogger],
) -> Chosen:
    """One run by its settings."""
    if start is not None:
        settings = start.fitted(settings)
    learner, options = build_learner(settings, vlsm)
    if start is not None:
        start.load_into(learner)
    progress = train(
        learner,
        data,
        settings,
        vlsm=vlsm,
        folder=folder,
        fabric=fabric,
        watch=watch,
        cache=cache,
        loggers=loggers,
        warm=start is not None,
    )
    return Chosen(learner, options, settings, progress, start=start)
