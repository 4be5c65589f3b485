"""The figures of one cell, on examples that all cells of its base and dataset share."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models_store.packs import ZERO_SHOT
from models_store.vlsm import FrozenVLSM
from trainer.baselines import END_TO_END
from trainer.benchmark.configurations import configurations
from trainer.benchmark.plan import FORMAT, ZERO_SHOT_NAME, Cell, Protocol
from trainer.benchmark.store import DONE
from trainer.benchmark.trial import Trial, method_settings, run_trial
from trainer.data.examples import Counted, Examples
from trainer.encoded import RememberedImages, usable
from trainer.evaluate import evaluate_examples
from trainer.multiclass import class_of, evaluate_multiclass
from trainer.scores import Evaluation, paired_difference
from trainer.sensitivity import Ways, prompt_sensitivity, ways_to_ask
from trainer.tuning.data import TuningData, load_tuning_data
from trainer.tuning.loop import Tick

MOST_PHRASES = 32


@dataclass(frozen=True)
class Group:
    """What the cells of one base and dataset share.

    Attributes:
        vlsm: The base.
        data: Examples to train, choose and report on.
        images: Features of the report's images under the frozen base.
        asked: The rows on which sensitivity is measured, and their ways of asking.
        asked_images: Features of their images.
        protocol: What is the same for all cells.
        device: Where the base is.
    """

    vlsm: FrozenVLSM
    data: TuningData
    images: RememberedImages
    asked: tuple[Examples, Sequence[Ways]] | None
    asked_images: RememberedImages | None
    protocol: Protocol
    device: torch.device


@dataclass(frozen=True)
class CellWatch:
    """Whom to tell how far a cell is; any may be left out."""

    trial: Callable[[int, int], None] | None = None
    training: Callable[[Tick], None] | None = None
    measuring: Counted | None = None


def load_group(
    folder: Path,
    vlsm: FrozenVLSM,
    *,
    protocol: Protocol,
    device: torch.device,
    progress: Counted | None = None,
) -> Group:
    """Read a dataset once for all methods on a base.

    Raises:
        StudioError: The data cannot be used.
    """
    # What decides on the data is the same for all methods.
    settings = method_settings("coop", configurations("coop")[0], protocol, vlsm)
    data = load_tuning_data(folder, vlsm.spec, settings, progress)
    report = some_images(data.report, protocol.val_limit, protocol.seed)
    data = replace(data, report=report)
    asked = asked_images = None
    if protocol.sensitivity_images:
        few = some_images(report, protocol.sensitivity_images, protocol.seed)
        asked, asked_images = (few, ways_to_ask(few)), RememberedImages(vlsm, few, device)
    return Group(vlsm, data, RememberedImages(vlsm, report, device), asked, asked_images, protocol, device)


def some_images(examples: Examples, limit: int | None, seed: int) -> Examples:
    """All rows of some images, drawn by the seed, in their order."""
    by_image = examples.rows_by_image()
    if limit is None or limit >= len(by_image):
        return examples
    chosen = np.random.default_rng([seed, 3]).permutation(len(by_image))[:limit]
    return examples.select(sorted(row for image in chosen.tolist() for row in by_image[image]))


def measure_cell(
    cell: Cell,
    group: Group,
    folder: Path,
    *,
    zero_shot: Mapping[str, Any] | None,
    watch: CellWatch | None = None,
) -> dict[str, Any]:
    """Tune if there is something to tune, choose on held-out images, report on ``val`` once.

    Args:
        cell: Which.
        group: What it shares with others.
        folder: Where its tuning runs keep their state.
        zero_shot: The zero-shot cell's content, for the paired difference; None for that cell.
        watch: Whom to tell.
    """
    started, watch = time.monotonic(), watch or CellWatch()
    trials = [] if cell.method == ZERO_SHOT_NAME else list(_trials(cell, group, folder, watch))
    reports = [trial.report for trial in trials]
    chosen = max(trials, key=lambda trial: trial.report["select_dice"], default=None)
    seconds = sum(r["seconds"] for r in reports)
    del trials
    content = _header(cell, group) | {
        "learnable": 0 if chosen is None else chosen.learner.parameter_count(),
        "trials": [{k: v for k, v in report.items() if k != "history"} for report in reports],
        "chosen": None if chosen is None else chosen.report,
    }
    content |= _figures(cell, group, chosen, watch.measuring)
    result = Evaluation.from_rows(content["images"], group.protocol.threshold)
    if zero_shot is None:
        content["difference"] = None
    else:
        before = Evaluation.from_rows(zero_shot["images"], group.protocol.threshold)
        content["difference"] = paired_difference(before, result)
    return content | {"seconds": seconds, "measuring_seconds": time.monotonic() - started - seconds}


def _trials(cell: Cell, group: Group, folder: Path, watch: CellWatch) -> Sequence[Trial]:
    tries = configurations(cell.method)[: group.protocol.trials]
    trials = []
    for number, configuration in enumerate(tries):
        if watch.trial is not None:
            watch.trial(number + 1, len(tries))
        trials.append(
            run_trial(
                cell.method,
                configuration,
                vlsm=group.vlsm,
                data=group.data,
                protocol=group.protocol,
                folder=folder / f"trial-{number}",
                device=group.device,
                watch=watch.training,
            )
        )
    return trials


def _header(cell: Cell, group: Group) -> dict[str, Any]:
    data = group.data
    return {
        "format": FORMAT,
        "status": DONE,
        "dataset": cell.dataset,
        "base": cell.base,
        "base_digest": group.vlsm.spec.digest,
        "method": cell.method,
        "seed": group.protocol.seed,
        "torch": torch.__version__,
        "data_digests": data.digests,
        "data_warnings": list(data.warnings),
        "images_used": {
            "train": len(data.train.images.distinct),
            "select": len(data.select.images.distinct),
            "val": len(data.report.images.distinct),
            "train_rows": len(data.train),
            "select_rows": len(data.select),
            "val_rows": len(data.report),
        },
    }


def _figures(cell: Cell, group: Group, chosen: Trial | None, progress: Counted | None) -> dict[str, Any]:
    pack = ZERO_SHOT if chosen is None else chosen.learner.fold()
    vlsm = group.vlsm if chosen is None else chosen.vlsm
    # Of an end-to-end tuned base the images' features are its own.
    own_encoder = cell.method == END_TO_END
    images, asked_images = (
        None if own_encoder else usable(remembered, pack) for remembered in (group.images, group.asked_images)
    )
    report, threshold, device = group.data.report, group.protocol.threshold, group.device
    result = evaluate_examples(
        vlsm, pack, report, device=device, threshold=threshold, images=images, progress=progress
    )
    figures: dict[str, Any] = {"figures": result.summary(), "images": result.rows(), "sensitivity": None}
    parts = result.by_phrase()
    if 1 < len(parts) <= MOST_PHRASES:
        figures["by_phrase"] = [
            {"phrase": phrase, "n": len(part.scores), "figures": part.summary()}
            for phrase, part in parts.items()
        ]
    if len({class_of(report, row) for row in range(len(report))}) > 1 and report.items[0].class_name:
        joint = evaluate_multiclass(vlsm, pack, report, device=device, threshold=threshold)
        figures["multiclass"] = joint.summary()
    if group.asked is not None:
        examples, ways = group.asked
        sensitivity = prompt_sensitivity(
            vlsm, pack, examples, ways, device=device, threshold=threshold, images=asked_images
        )
        figures["sensitivity"] = {"images": len(examples), **sensitivity.summary()}
    return figures
