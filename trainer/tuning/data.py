"""Which images a run trains on, selects on and reports on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from models_store.errors import BadInputError
from models_store.vlsm import VLSMSpec
from trainer.data.examples import Counted, Examples, examples_digest, load_examples
from trainer.data.folder import read_split
from trainer.tuning.settings import SelectOn, TuneSettings

HOLDOUT_SHARE = 0.15
HOLDOUT_LEAST = 8
# Of a handful of images most must still be trained on.
HOLDOUT_MOST = 1 / 3


@dataclass(frozen=True)
class TuningData:
    """Examples of a run.

    Attributes:
        train: Trained on.
        select: Early stopping, schedule and choice of epoch look at these.
        report: The figures of ``eval.json`` are measured on these: the ``val`` split.
        digests: SHA-256 of the used part of ``train`` and of ``val``.
    """

    train: Examples
    select: Examples
    report: Examples
    digests: dict[str, str]


def holdout_size(n: int) -> int:
    """Images held out of ``n`` for selection: 15 %, at least 8 but at most a third."""
    return max(1, min(max(round(HOLDOUT_SHARE * n), HOLDOUT_LEAST), int(n * HOLDOUT_MOST)))


def split_holdout(n: int, seed: int) -> tuple[list[int], list[int]]:
    """Indices to train on and indices held out for selection, drawn by the seed.

    Raises:
        BadInputError: There are fewer than two images.
    """
    if n < 2:
        raise BadInputError(
            f"{n} labelled image is too few to hold one out for selection; add images or select on 'val'"
        )
    held = set(np.random.default_rng([seed, 2]).permutation(n)[: holdout_size(n)].tolist())
    return [i for i in range(n) if i not in held], sorted(held)


def load_tuning_data(
    folder: Path, spec: VLSMSpec, settings: TuneSettings, progress: Counted | None = None
) -> TuningData:
    """Read the splits ``train`` and ``val`` of a dataset folder into memory.

    Raises:
        UnknownNameError: The folder or a split is not there.
        BadInputError: Entries are damaged; the message lists them. Or there are too few images.
    """
    pool, validation = read_split(folder, "train"), read_split(folder, "val")
    shared = {i.name for i in pool} & {i.name for i in validation}
    if shared:
        listed = ", ".join(sorted(shared)[:10])
        raise BadInputError(f"{len(shared)} images are in both train and val, which spoils figures: {listed}")
    if settings.limit is not None and settings.limit < len(pool):
        chosen = np.random.default_rng([settings.seed, 1]).permutation(len(pool))[: settings.limit]
        pool = [pool[i] for i in sorted(chosen.tolist())]
    total = len(pool) + len(validation)

    def shifted(done: int, _of: int) -> None:
        if progress is not None:
            progress(done + offset, total)

    offset = 0
    key, phrase = settings.prompt_key, settings.phrase
    train = load_examples(pool, spec, prompt_key=key, phrase=phrase, progress=shifted)
    offset = len(pool)
    report = load_examples(validation, spec, prompt_key=key, phrase=phrase, progress=shifted)
    digests = {"train": examples_digest(train), "val": examples_digest(report)}
    data = TuningData(train, report, report, digests)
    return data if settings.select_on == "val" else _hold_out(data, settings.seed)


def _hold_out(data: TuningData, seed: int) -> TuningData:
    training, held = split_holdout(len(data.train), seed)
    return replace(data, train=data.train.select(training), select=data.train.select(held))


def selection_note(select_on: SelectOn) -> str:
    """What the reported figures owe to selection, in words."""
    if select_on == "val":
        return "The epoch was chosen on val, the images the figures are measured on: they are optimistic."
    return "The epoch was chosen on images held out of train; val was used for nothing but these figures."
