"""Tune one prompt checkpoint on a dataset folder and publish it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from models_store.checkpoints import CheckpointConfig, NewCheckpoint, learner_tensors
from models_store.identity import BaseIdentity, PresenceCut
from models_store.packs import ZERO_SHOT
from models_store.registry import Registry, check_dataset_name
from models_store.strategies.learner import PromptLearner
from models_store.vlsm import FrozenVLSM
from trainer.calibration import calibrate
from trainer.data.examples import Counted
from trainer.encoded import RememberedImages, usable
from trainer.evaluate import evaluate_examples
from trainer.feature_cache import CacheBudget
from trainer.reports.cases import worst_cases
from trainer.reports.write import HTML, report_files
from trainer.tuning.data import TuningData, load_tuning_data, selection_note
from trainer.tuning.devices import agreed, fabric_on, shared_folder
from trainer.tuning.figures import case_sheet, dice_plot, loss_plot
from trainer.tuning.learners import build_learner
from trainer.tuning.logs import HISTORY, RunLogger, history_csv
from trainer.tuning.loop import Tick, TuningRun
from trainer.tuning.publish import Published, publish
from trainer.tuning.report import model_card, tuning_report
from trainer.tuning.settings import TuneSettings
from trainer.tuning.state import Progress, remove_run
from trainer.tuning.strategies import COMMON_OPTIONS

REPORT_SPLIT = "val"


@dataclass(frozen=True)
class Watch:
    """Whom to tell how far a run is; any may be left out.

    Attributes:
        loading: Told how many of how many images are read.
        resumed: Told, before training, which epoch and step a stopped run goes on from.
        training: Told after every step and epoch.
        warned: Told what is remarkable about the dataset, such as phrases that give the answer away.
        measuring: Told how many of how many images are measured, twice: zero-shot, then tuned.
    """

    loading: Counted | None = None
    resumed: Callable[[int, int], None] | None = None
    training: Callable[[Tick], None] | None = None
    warned: Callable[[str], None] | None = None
    measuring: Counted | None = None


@dataclass(frozen=True)
class TuneResult:
    """A finished run."""

    published: Published
    folder: Path
    report: dict[str, Any]


def tune(
    dataset_folder: Path,
    *,
    vlsm: FrozenVLSM,
    data_dir: Path,
    settings: TuneSettings,
    name: str | None = None,
    device: torch.device | None = None,
    promote: bool = False,
    watch: Watch | None = None,
    cache: CacheBudget | None = None,
    fabric: Fabric | None = None,
    loggers: Sequence[RunLogger] = (),
) -> TuneResult:
    """Tune, measure on ``val`` and publish; goes on where the same call was stopped before.

    Args:
        dataset_folder: A folder in the benchmark's layout with splits ``train`` and ``val``.
        vlsm: The frozen model, on ``device``.
        data_dir: The registry lies in its ``registry``, unfinished runs in its ``runs``.
        settings: What decides the outcome.
        name: The dataset's name in the registry; default the folder's.
        device: Where to train; default the processor.
        promote: Whether to make the new version champion even if there is one.
        watch: Whom to tell about progress.
        cache: How much frozen work to keep; what is kept changes no result.
        fabric: Several devices, or processes of which each calls this and gets the same result.
            Its precision is to be the settings'.
        loggers: Told of every epoch.

    Raises:
        StudioError: The data, the settings or the name cannot be used; nothing is published.
    """
    settings.check()
    dataset = name or dataset_folder.resolve().name
    check_dataset_name(dataset)
    fabric, watch = fabric or fabric_on(device or torch.device("cpu"), settings.precision), watch or Watch()
    learner, options = build_learner(settings, vlsm)
    data = load_tuning_data(dataset_folder, vlsm.spec, settings, watch.loading)
    if watch.warned is not None:
        for warning in data.warnings:
            watch.warned(warning)
    identity = settings.run_id(base=vlsm.spec.digest, **data.digests)
    run_path = data_dir / "runs" / f"{dataset}-{settings.strategy}-{identity}"
    with shared_folder(run_path, fabric) as folder:
        progress = _train(vlsm, learner, data, folder, settings, fabric, cache, watch, loggers)
        result: TuneResult | None = None
        if fabric.global_rank == 0:
            report, extras = _measure(vlsm, learner, data, progress, settings, fabric.device, watch)
            presence = _presence(vlsm, learner, data, settings, fabric.device)
            config = _configuration(vlsm, learner, options, data, dataset, identity, settings, presence)
            card = model_card(
                config, report, dataset=dataset, settings=settings, learned=learner.parameter_count()
            )
            new = NewCheckpoint(config, learner_tensors(learner), learner.fold(), report, card, extras)
            registry = Registry(data_dir / "registry")
            published = publish(registry, dataset, new, run=identity, promote=promote)
            remove_run(folder)
            result = TuneResult(published, registry.folder(published.reference), report)
    return agreed(fabric, result)


def _train(
    vlsm: FrozenVLSM,
    learner: PromptLearner,
    data: TuningData,
    folder: Path,
    settings: TuneSettings,
    fabric: Fabric,
    cache: CacheBudget | None,
    watch: Watch,
    loggers: Sequence[RunLogger],
) -> Progress:
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


def _measure(
    vlsm: FrozenVLSM,
    learner: PromptLearner,
    data: TuningData,
    progress: Progress,
    settings: TuneSettings,
    device: torch.device,
    watch: Watch,
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """``eval.json`` and the pictures."""
    pack = learner.fold()
    images = RememberedImages(vlsm, data.report, device)
    zero_shot, tuned = (
        evaluate_examples(
            vlsm,
            each,
            data.report,
            device=device,
            threshold=settings.threshold,
            batch_size=settings.batch_size,
            images=usable(images, each),
            progress=watch.measuring,
        )
        for each in (ZERO_SHOT, pack)
    )
    report = tuning_report(
        zero_shot,
        tuned,
        split=REPORT_SPLIT,
        settings=settings,
        progress=progress,
        selected_on=len(data.select),
        trained_on=len(data.train),
        note=selection_note(settings.select_on),
    )
    extras = {
        "loss.png": loss_plot(progress.history, progress.best_epoch),
        "dice.png": dice_plot(progress.history, progress.best_epoch),
        HISTORY: history_csv(progress.history),
        "cases.png": case_sheet(vlsm, pack, data.report, tuned, device=device),
    }
    cases = worst_cases(vlsm, pack, data.report, tuned, device=device)
    page = report_files(report, title=f"{settings.strategy} on {vlsm.spec.name}", cases=cases)[HTML]
    return report, extras | {HTML: page}


def _presence(
    vlsm: FrozenVLSM, learner: PromptLearner, data: TuningData, settings: TuneSettings, device: torch.device
) -> PresenceCut | None:
    """The absent decision, from images held out of ``train``; without such images there is none."""
    if settings.select_on == REPORT_SPLIT:
        return None
    return calibrate(
        vlsm, learner.fold(), data.select, device=device, seed=settings.seed, batch_size=settings.batch_size
    )


def _configuration(
    vlsm: FrozenVLSM,
    learner: PromptLearner,
    options: dict[str, Any],
    data: TuningData,
    dataset: str,
    run: str,
    settings: TuneSettings,
    presence: PresenceCut | None,
) -> CheckpointConfig:
    pack = learner.fold()
    return CheckpointConfig(
        strategy=settings.strategy,
        options={k: v for k, v in options.items() if k not in COMMON_OPTIONS},
        depth=options["depth"],
        n=options["n"],
        head=pack.head_mode,
        shift=pack.shift_form,
        base=BaseIdentity(name=vlsm.spec.name, digest=vlsm.spec.digest),
        preprocessing=vlsm.spec.preprocessing,
        threshold=settings.threshold,
        presence=presence,
        labels=data.train.all_phrases(),
        data={
            "dataset": dataset,
            "prompt_key": None if settings.phrase is not None else settings.prompt_key,
            "train": {"images": len(data.train), "used_digest": data.digests["train"]},
            "selection": {"on": settings.select_on, "images": len(data.select)},
            "val": {"images": len(data.report), "digest": data.digests["val"]},
            "warnings": list(data.warnings),
            "run": run,
        },
        seed=settings.seed,
        pack_digest=pack.digest,
    )
