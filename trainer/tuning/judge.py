"""Measure a tuned pack on ``val`` beside the untuned model, and put its checkpoint together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from models_store.checkpoints import CheckpointConfig, NewCheckpoint, learner_tensors
from models_store.identity import BaseIdentity, PresenceCut
from models_store.packs import PromptPack
from models_store.vlsm import FrozenVLSM
from trainer.auto.choose import Chosen
from trainer.calibration import calibrate
from trainer.encoded import RememberedImages, usable
from trainer.evaluate import evaluate_examples
from trainer.gate.seen import SELECTION_IMAGES, selection_images
from trainer.reports.cases import worst_cases
from trainer.reports.write import HTML, report_files
from trainer.tuning.command import recorded_settings
from trainer.tuning.data import TuningData, image_digests, selection_note
from trainer.tuning.figures import case_sheet, dice_plot, loss_plot
from trainer.tuning.logs import HISTORY, history_csv
from trainer.tuning.report import model_card, tuning_report
from trainer.tuning.start import TRAINING_IMAGES, training_images
from trainer.tuning.strategies import COMMON_OPTIONS
from trainer.tuning.watch import Watch
from trainer.tuning.zero_shot import zero_shot

REPORT_SPLIT = "val"


def judged_checkpoint(
    chosen: Chosen,
    data: TuningData,
    *,
    vlsm: FrozenVLSM,
    dataset: str,
    run: str,
    device: torch.device,
    known: Path,
    watch: Watch,
    budget: float | None = None,
    about: Mapping[str, str] | None = None,
) -> NewCheckpoint:
    """A finished run as a checkpoint with its figures, card and pictures.

    Args:
        chosen: What was tuned.
        data: What it was tuned, selected and is measured on.
        vlsm: The frozen model.
        dataset: Name in the registry.
        run: Identity of the run.
        device: Where the model is.
        known: Folder of the untuned model's figures that are known already.
        watch: Whom to tell.
        budget: Seconds it had, if it had a budget.
        about: Further members of the configuration's ``data``.
    """
    pack = chosen.learner.fold()
    report, extras = _measure(chosen, pack, data, vlsm, device, known, watch, budget)
    config = _configuration(
        chosen, pack, data, vlsm, dataset, run, _presence(chosen, pack, data, vlsm, device), about or {}
    )
    learned = chosen.learner.parameter_count()
    card = model_card(config, report, dataset=dataset, settings=chosen.settings, learned=learned)
    extras[SELECTION_IMAGES] = selection_images(data.select)
    extras[TRAINING_IMAGES] = training_images(image_digests(data.train), chosen.start)
    return NewCheckpoint(config, learner_tensors(chosen.learner), pack, report, card, extras)


def _measure(
    chosen: Chosen,
    pack: PromptPack,
    data: TuningData,
    vlsm: FrozenVLSM,
    device: torch.device,
    known: Path,
    watch: Watch,
    budget: float | None,
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """``eval.json`` and the pictures."""
    settings, progress = chosen.settings, chosen.progress
    images = RememberedImages(vlsm, data.report, device)
    untuned = zero_shot(
        vlsm,
        data.report,
        data.digests[REPORT_SPLIT],
        folder=known,
        images=images,
        device=device,
        threshold=settings.threshold,
        batch_size=settings.batch_size,
        progress=watch.measuring,
    )
    tuned = evaluate_examples(
        vlsm,
        pack,
        data.report,
        device=device,
        threshold=settings.threshold,
        batch_size=settings.batch_size,
        images=usable(images, pack),
        progress=watch.measuring,
    )
    report = tuning_report(
        untuned,
        tuned,
        split=REPORT_SPLIT,
        settings=settings,
        progress=progress,
        selected_on=len(data.select),
        trained_on=len(data.train),
        note=selection_note(settings.select_on, data.seen, grouped=data.grouped),
        attempts=chosen.attempts,
        budget=budget,
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
    chosen: Chosen, pack: PromptPack, data: TuningData, vlsm: FrozenVLSM, device: torch.device
) -> PresenceCut | None:
    """The absent decision, from images held out of ``train``; without such images there is none."""
    settings = chosen.settings
    if settings.select_on == REPORT_SPLIT:
        return None
    return calibrate(
        vlsm, pack, data.select, device=device, seed=settings.seed, batch_size=settings.batch_size
    )


def _configuration(
    chosen: Chosen,
    pack: PromptPack,
    data: TuningData,
    vlsm: FrozenVLSM,
    dataset: str,
    run: str,
    presence: PresenceCut | None,
    about: Mapping[str, str],
) -> CheckpointConfig:
    settings, options = chosen.settings, chosen.options
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
            "warm_start": None if chosen.start is None else chosen.start.record(data.seen),
            "warnings": list(data.warnings),
            "run": run,
            "settings": recorded_settings(settings),
            **about,
        },
        seed=settings.seed,
        pack_digest=pack.digest,
    )
