"""From which presence on a thing counts as there: a cut found on held-out training images."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from models_store.identity import PresenceCut
from models_store.packs import PromptPack
from models_store.presence import SCORE, presence_of
from models_store.vlsm import FrozenVLSM
from trainer.data.examples import Examples
from trainer.encoded import FeatureSource
from trainer.evaluate import BATCH, batched_logits

EMPTY, CLASS, THING = "empty", "class", "thing"
# Phrases per image that ask for what is not there; more say little more and cost a decoding each.
PER_IMAGE = 4
MOST_IMAGES = 200
# Fewer cases of a side make a cut that says more about them than about others.
LEAST_CASES = 4


@dataclass(frozen=True)
class PresenceCase:
    """One image asked for one thing.

    Attributes:
        row: Row of the examples whose image it is.
        phrase: What is asked for.
        kind: None where it is there; else why it is not: ``empty``, ``class`` or ``thing``.
    """

    row: int
    phrase: str
    kind: str | None


@cache
def absent_things() -> tuple[str, ...]:
    """Things that are in no image a person would tune on."""
    text = Path(__file__).with_name("absent_things.toml").read_text(encoding="utf-8")
    return tuple(tomllib.loads(text)["things"])


def presence_cases(examples: Examples, *, seed: int) -> list[PresenceCase]:
    """What to ask each image for: its own phrases, classes that it lacks, and things that no image has.

    Args:
        examples: Rows; those of one image lie side by side in the result.
        seed: Draws the images, if there are many, and the phrases.
    """
    random = np.random.default_rng([seed, 3])
    images = examples.rows_by_image()
    chosen = sorted(random.permutation(len(images))[:MOST_IMAGES].tolist())
    classes = {
        item.class_name: phrases[0]
        for item, phrases in zip(examples.items, examples.phrases, strict=True)
        if item.class_name is not None
    }
    known = {word for phrase in examples.all_phrases() for word in _words(phrase)}
    things = [thing for thing in absent_things() if not known & _words(thing)]
    cases: list[PresenceCase] = []
    for rows in (images[i] for i in chosen):
        for row in rows:
            there = bool(examples.truths[row].unpack().any())
            cases.append(PresenceCase(row, examples.phrases[row][0], None if there else EMPTY))
        here = {examples.items[row].class_name for row in rows}
        lacking = [phrase for name, phrase in sorted(classes.items()) if name not in here]
        for kind, phrases in ((CLASS, lacking), (THING, things)):
            drawn = random.permutation(len(phrases))[:PER_IMAGE]
            cases += [PresenceCase(rows[0], phrases[i], kind) for i in drawn]
    return cases


def calibrate(
    vlsm: FrozenVLSM,
    pack: PromptPack,
    held_out: Examples,
    *,
    device: torch.device,
    seed: int,
    batch_size: int = BATCH,
    images: FeatureSource | None = None,
) -> PresenceCut | None:
    """Find the cut of greatest balanced accuracy.

    Args:
        vlsm: The frozen model.
        pack: The tuned pack.
        held_out: Training images that were held out of training; never those that figures are reported on.
        device: Where the model is.
        seed: Draws what images are asked for.
        batch_size: Rows per forward pass.
        images: Where image features come from; default, they are encoded here.

    Returns:
        None where there are too few cases in which the thing is there, or in which it is not.
    """
    cases = presence_cases(held_out, seed=seed)
    kinds = [case.kind for case in cases]
    if min(kinds.count(None), len(kinds) - kinds.count(None)) < LEAST_CASES:
        return None
    presence = presence_in_cases(
        vlsm, pack, held_out, cases, device=device, batch_size=batch_size, images=images
    )
    present = presence[[kind is None for kind in kinds]]
    absent = {
        name: presence[[kind == name for kind in kinds]] for name in (EMPTY, CLASS, THING) if name in kinds
    }
    cut = best_cut(present, list(absent.values()))
    specificities = {name: _share(values < cut) for name, values in absent.items()}
    return PresenceCut(
        score=SCORE,
        cut=cut,
        sensitivity=_share(present >= cut),
        specificity=_mean(specificities),
        specificities=specificities,
        present=len(present),
        absent={name: len(values) for name, values in absent.items()},
        images=len({int(held_out.images.at[case.row]) for case in cases}),
    )


def presence_in_cases(
    vlsm: FrozenVLSM,
    pack: PromptPack,
    examples: Examples,
    cases: Sequence[PresenceCase],
    *,
    device: torch.device,
    batch_size: int = BATCH,
    images: FeatureSource | None = None,
) -> NDArray[np.float32]:
    """The score of presence of each case, in order; the arguments are those of :func:`calibrate`."""
    asked = replace(
        examples.select([case.row for case in cases]), phrases=tuple((case.phrase,) for case in cases)
    )
    batches = batched_logits(vlsm, pack, asked, device=device, batch_size=batch_size, images=images)
    return np.concatenate([presence_of(logits).cpu().numpy() for _, logits in batches])


def best_cut(present: NDArray[np.float32], absent: Sequence[NDArray[np.float32]]) -> float:
    """The cut, in 0..1, with the greatest balanced accuracy.

    Balanced accuracy is the mean of sensitivity and specificity; each kind of absent case counts
    alike in the latter, however many there are. Of cuts that do equally well the middle of the
    widest gap is taken, which is where new images are least likely to fall on the wrong side.

    Args:
        present: Scores of cases that are there.
        absent: Scores of each kind of case that is not.
    """
    values = np.unique(np.concatenate([present, *absent]).astype(np.float32))
    edges = np.concatenate([[np.float32(0)], values, [np.float32(1)]])
    # A score at the cut counts as present, so each gap between two scores is one way to decide. Scores
    # are float32 and compared as such: where no float32 lies between two of them, the upper one is the cut.
    middles = (edges[1:] + edges[:-1]) / np.float32(2)
    cuts = np.where(middles > edges[:-1], middles, edges[1:])
    below = [np.searchsorted(np.sort(side), cuts, side="left") for side in absent]
    specificity = np.mean([count / len(side) for count, side in zip(below, absent, strict=True)], axis=0)
    missed = np.searchsorted(np.sort(present), cuts, side="left")
    accuracy = (1 - missed / len(present) + specificity) / 2
    best = np.flatnonzero(accuracy >= accuracy.max() - 1e-12)
    widest = best[np.argmax((edges[1:] - edges[:-1])[best])]
    return float(cuts[widest])


def _words(phrase: str) -> set[str]:
    """Words of a phrase, without those that say nothing."""
    return set(re.findall(r"\w+", phrase.lower())) - {"a", "an", "the", "of", "in"}


def _share(flags: NDArray[np.bool_]) -> float:
    return float(np.mean(flags))


def _mean(values: Mapping[str, float]) -> float:
    return sum(values.values()) / len(values)
