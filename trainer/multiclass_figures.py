"""Pixel counts per image and class, and what is made of them, with intervals by bootstrap over images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.metrics import CONFIDENCE, RESAMPLES, Interval, Overlap, bootstrap_mean

BOOTSTRAP_SEED = 12345


class Counts:
    """Pixels predicted, true and both, each [images, K] int64."""

    def __init__(self, images: int, classes: int):
        self.both, self.predicted, self.truth = (np.zeros((images, classes), np.int64) for _ in range(3))

    def add(self, image: int, k: int, found: Overlap) -> None:
        """Add one mask's counts to class ``k``, counted from 0."""
        self.both[image, k] += found.both
        self.predicted[image, k] += found.predicted
        self.truth[image, k] += found.truth

    def add_maps(
        self, image: int, labels: NDArray[np.uint8], truth: NDArray[np.uint8], left_out: int
    ) -> None:
        """Add one image's label maps [H, W]: numbers from 1, 0 for none; ``left_out`` in the truth."""
        counted = truth != left_out
        labels, truth = labels[counted], truth[counted]
        size = self.both.shape[1] + 1
        self.both[image] += np.bincount(labels[labels == truth], minlength=size)[1:]
        self.predicted[image] += np.bincount(labels, minlength=size)[1:]
        self.truth[image] += np.bincount(truth, minlength=size)[1:]

    def dice(self) -> NDArray[np.float64]:
        """Dice [images, K]; 1 where prediction and truth are empty."""
        total = self.predicted + self.truth
        return np.where(total > 0, 2 * self.both / np.maximum(total, 1), 1.0)

    def pooled(self, *, iou: bool = False) -> Pooled:
        """Dice or IoU over all pixels of all images, of each class and on average.

        A class that is in no truth and no prediction of the images does not count.
        """
        draws = _draws(len(self.both))
        common, total = draws @ self.both, draws @ (self.predicted + self.truth)
        seen = total > 0
        size = np.where(seen, total, 1.0)
        values = common / (size - common) if iou else 2 * common / size
        return _pooled(np.where(seen, values, np.nan), len(self.both))


@dataclass(frozen=True)
class Pooled:
    """Figures of the classes, None of one that is nowhere, and their mean; None if all are nowhere."""

    classes: tuple[Interval | None, ...]
    mean: Interval | None


class ClassCounts:
    """Counts of both ways of asking: each class alone where it is, and all at once."""

    def __init__(self, images: int, classes: int):
        self.images = images
        self.binarised, self.joint = Counts(images, classes), Counts(images, classes)


@dataclass(frozen=True)
class ClassFigures:
    """One class's figures.

    Attributes:
        name: The class.
        phrase: What it was asked for with.
        binarised: Dice per image that has the class, each asked for alone; None where none has.
        joint: Dice of the label map on the same images.
        joint_pooled: Dice of the label map over all pixels of all images, so that finding the class
            where it is not costs. None where it is nowhere, neither in truth nor in prediction.
        joint_pooled_iou: The same of IoU.
    """

    name: str
    phrase: str
    binarised: Interval | None
    joint: Interval | None
    joint_pooled: Interval | None
    joint_pooled_iou: Interval | None


def class_figures(counts: ClassCounts, classes: Mapping[str, str]) -> tuple[ClassFigures, ...]:
    """The figures of all classes, given with their phrases."""
    alone, together = counts.binarised.dice(), counts.joint.dice()
    dice, iou = counts.joint.pooled(), counts.joint.pooled(iou=True)
    figures = []
    for k, (name, phrase) in enumerate(classes.items()):
        present = counts.binarised.truth[:, k] > 0
        figures.append(
            ClassFigures(
                name,
                phrase,
                binarised=_mean(alone[present, k]),
                joint=_mean(together[present, k]),
                joint_pooled=dice.classes[k],
                joint_pooled_iou=iou.classes[k],
            )
        )
    return tuple(figures)


def _mean(values: NDArray[np.float64]) -> Interval | None:
    return bootstrap_mean(values.tolist(), seed=BOOTSTRAP_SEED) if len(values) else None


def mean_over_classes(values: NDArray[np.float64], counted: NDArray[np.bool_]) -> Interval | None:
    """Mean over classes of each class's mean over images, with a bootstrap interval over images.

    None where nothing counts.

    Args:
        values: [images, K].
        counted: [images, K]: which of them count. A class with none does not.
    """
    draws = _draws(len(values))
    total, n = draws @ np.where(counted, values, 0.0), draws @ counted
    return _pooled(np.where(n > 0, total / np.maximum(n, 1), np.nan), len(values)).mean


def _draws(images: int) -> NDArray[np.float64]:
    """How often each image counts [1 + resamples, images]: once first, then as drawn with repeats."""
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    drawn = rng.multinomial(images, np.full(images, 1 / images), size=RESAMPLES)
    return np.concatenate([np.ones((1, images)), drawn])


def _pooled(values: NDArray[np.float64], images: int) -> Pooled:
    """Intervals of values [1 + resamples, K], NaN where a class is nowhere; the first row is observed."""
    known = ~np.isnan(values)
    total = np.where(known, values, 0.0).sum(axis=1)
    mean = np.where(known.any(axis=1), total / np.maximum(known.sum(axis=1), 1), np.nan)
    return Pooled(tuple(_interval(column, images) for column in values.T), _interval(mean, images))


def _interval(values: NDArray[np.float64], images: int) -> Interval | None:
    if np.isnan(values[0]):
        return None
    drawn = values[1:][~np.isnan(values[1:])]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Interval(float(values[0]), float(low), float(high), images)
