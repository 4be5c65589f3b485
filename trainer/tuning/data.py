"""Which images a run trains on, selects on and reports on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from models_store.digests import file_digest
from models_store.errors import BadInputError
from models_store.vlsm import VLSMSpec
from trainer.data.dataset import open_dataset
from trainer.data.examples import Counted, Examples, examples_digest, load_examples
from trainer.data.items import LabelledImage
from trainer.data.units import units_by_group
from trainer.tuning.holdout import ONE_GROUP, split_holdout
from trainer.tuning.settings import SelectOn, TuneSettings


@dataclass(frozen=True)
class TuningData:
    """Examples of a run.

    Attributes:
        train: Trained on.
        select: Early stopping, schedule and choice of epoch look at these.
        report: The figures of ``eval.json`` are measured on these: the ``val`` split.
        digests: SHA-256 of the used part of ``train`` and of ``val``; and, where images were held out by
            groups, of which images are of one.
        warnings: What was remarkable when the dataset was opened.
        seen: How many distinct images of ``select`` the run's warm start was tuned on, or on others of their
            groups.
        grouped: Whether images were held out by groups.
    """

    train: Examples
    select: Examples
    report: Examples
    digests: dict[str, str]
    warnings: tuple[str, ...] = ()
    seen: int = 0
    grouped: bool = False


def load_tuning_data(
    folder: Path,
    spec: VLSMSpec,
    settings: TuneSettings,
    progress: Counted | None = None,
    seen: Collection[str] = (),
) -> TuningData:
    """Read the splits ``train`` and ``val`` of a dataset folder into memory.

    Args:
        folder: The dataset.
        spec: The model's sizes.
        settings: Phrases, limit, seed and what selection looks at.
        progress: Told how many images are read.
        seen: SHA-256 of image files that a warm start was tuned on.

    Raises:
        UnknownNameError: The folder or a split is not there.
        BadInputError: Entries are damaged; the message lists them. Or there are too few images, or ``val``
            holds images that were seen.
    """
    key, phrase, stop = settings.prompt_key, settings.phrase, settings.stop
    dataset = open_dataset(folder, format=settings.format, prompt_key=key, phrase=phrase, stop=stop)
    pool, validation = list(dataset.items("train")), list(dataset.items("val"))
    if settings.limit is not None:
        pool = limited(pool, settings.limit, settings.seed)
    total = len(pool) + len(validation)

    def shifted(done: int, _of: int) -> None:
        if progress is not None:
            progress(done + offset, total)

    offset = 0
    train = load_examples(pool, spec, prompt_key=key, phrase=phrase, stop=stop, progress=shifted)
    offset = len(pool)
    report = load_examples(validation, spec, prompt_key=key, phrase=phrase, stop=stop, progress=shifted)
    digests = {"train": examples_digest(train), "val": examples_digest(report)}
    data = TuningData(train, report, report, digests, dataset.warnings)
    known = sum(digest in seen for digest in image_digests(report)) if seen else 0
    if known:
        raise BadInputError(
            f"the warm start was tuned on {known} of the {len(report.images.distinct)} images of 'val', so "
            "figures on them would say nothing about new images; start from another checkpoint"
        )
    return data if settings.select_on == "val" else _hold_out(data, settings.seed, seen)


def image_digests(examples: Examples) -> list[str]:
    """SHA-256 of each distinct image's file."""
    first = [rows[0] for rows in examples.rows_by_image()]
    return [file_digest(examples.items[row].image_path) for row in first]


def limited(items: list[LabelledImage], limit: int, seed: int) -> list[LabelledImage]:
    """All items of so many images, drawn by the seed."""
    images = list(dict.fromkeys(item.image_path for item in items))
    if limit >= len(images):
        return items
    chosen = {images[i] for i in np.random.default_rng([seed, 1]).permutation(len(images))[:limit]}
    return [item for item in items if item.image_path in chosen]


def _hold_out(data: TuningData, seed: int, seen: Collection[str]) -> TuningData:
    """Hold images out with all their classes, and all of their group."""
    rows, groups = data.train.rows_by_image(), data.train.image_groups()
    known = {i for i, digest in enumerate(image_digests(data.train)) if digest in seen} if seen else set()
    parts = split_holdout(len(rows), seed, known, groups=groups)
    training, held = (
        data.train.select(sorted(row for image in images for row in rows[image])) for images in parts
    )
    units = units_by_group(groups)
    alike = {i for unit in units if known.intersection(unit) for i in unit}
    data = replace(data, train=training, select=held, seen=len(alike.intersection(parts[1])))
    if len(units) == 1:
        return replace(data, warnings=(*data.warnings, ONE_GROUP))
    if len(units) == len(rows):
        return data
    # Other groups would be another split of the same images: not to be gone on with as the same run.
    drawn_by = hashlib.sha256(json.dumps(units).encode()).hexdigest()
    return replace(data, digests=data.digests | {"groups": drawn_by}, grouped=True)


def selection_note(select_on: SelectOn, seen: int = 0, *, grouped: bool = False) -> str:
    """What the reported figures owe to selection, in words.

    Args:
        select_on: What selection looked at.
        seen: How many of its images a warm start was tuned on, or on others of their groups.
        grouped: Whether images were held out by groups.
    """
    if select_on == "val":
        return "The epoch was chosen on val, the images the figures are measured on: they are optimistic."
    note = "The epoch was chosen on images held out of train; val was used for nothing but these figures."
    if grouped:
        note += " No group of images, such as a patient, was both trained on and chosen on."
    if seen:
        those = f"{seen} of the held-out images{', or others of their groups' if grouped else ''}"
        note += f" What tuning started from had been tuned on {those}: for want of others."
    return note
