"""How well a mask fits the truth, and how sure a mean over images is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
CONFIDENCE = 0.95
SURFACE_PERCENTILE = 95
_DRAWS_AT_ONCE = 1_000_000
# A pixel and its four neighbours: a mask's surface is what erosion with it takes away.
_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


@dataclass(frozen=True)
class Overlap:
    """Pixel counts of one predicted mask against its truth."""

    both: int
    predicted: int
    truth: int

    @property
    def dice(self) -> float:
        """2 |A ∩ B| / (|A| + |B|); 1 where both are empty."""
        total = self.predicted + self.truth
        return 2 * self.both / total if total else 1.0

    @property
    def iou(self) -> float:
        """|A ∩ B| / |A ∪ B|; 1 where both are empty."""
        union = self.predicted + self.truth - self.both
        return self.both / union if union else 1.0


def overlap(
    prediction: NDArray[np.bool_], truth: NDArray[np.bool_], ignored: NDArray[np.bool_] | None = None
) -> Overlap:
    """Count pixels of two masks [H, W].

    Args:
        prediction: The mask to judge.
        truth: The labelled mask.
        ignored: Pixels nobody labelled, left out of every count.

    Raises:
        ValueError: The masks differ in shape.
    """
    prediction, truth = _comparable(prediction, truth, ignored)
    return Overlap(
        int(np.count_nonzero(prediction & truth)),
        int(np.count_nonzero(prediction)),
        int(np.count_nonzero(truth)),
    )


def hausdorff95(
    prediction: NDArray[np.bool_], truth: NDArray[np.bool_], ignored: NDArray[np.bool_] | None = None
) -> float:
    """95 % Hausdorff distance (HD95) between the surfaces of two masks [H, W], in their pixels.

    The larger of the two directions' 95th percentiles of the distance from one surface to the
    other. Two empty masks agree: 0. Exactly one empty mask leaves it undefined: NaN, which
    summaries count apart instead of averaging a made-up distance.

    Args:
        prediction: The mask to judge.
        truth: The labelled mask.
        ignored: Pixels nobody labelled, background on both sides.

    Raises:
        ValueError: The masks differ in shape.
    """
    prediction, truth = _comparable(prediction, truth, ignored)
    if not (prediction.any() and truth.any()):
        return math.nan if prediction.any() or truth.any() else 0.0
    rows, columns = np.flatnonzero((prediction | truth).any(1)), np.flatnonzero((prediction | truth).any(0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    surfaces = [_surface(mask[box]) for mask in (prediction, truth)]
    return max(_percentile_distance(a, b) for a, b in (surfaces, surfaces[::-1]))


def _comparable(
    prediction: NDArray[np.bool_], truth: NDArray[np.bool_], ignored: NDArray[np.bool_] | None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    if prediction.shape != truth.shape:
        raise ValueError(f"masks of shapes {prediction.shape} and {truth.shape} cannot be compared")
    if ignored is None:
        return prediction, truth
    if ignored.shape != truth.shape:
        raise ValueError(f"ignored pixels of shape {ignored.shape} do not fit masks of {truth.shape}")
    return prediction & ~ignored, truth & ~ignored


def _surface(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of a mask with a neighbour outside; beyond the picture is outside."""
    inner = cv2.erode(mask.astype(np.uint8), _CROSS, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return mask & ~inner.astype(np.bool_)


def _percentile_distance(origin: NDArray[np.bool_], goal: NDArray[np.bool_]) -> float:
    distances = cv2.distanceTransform((~goal).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return float(np.percentile(distances[origin], SURFACE_PERCENTILE))


def pooled_iou(overlaps: Sequence[Overlap]) -> float:
    """IoU over all pixels of a set, as the benchmark reports it; large objects weigh more."""
    return Overlap(
        sum(o.both for o in overlaps), sum(o.predicted for o in overlaps), sum(o.truth for o in overlaps)
    ).iou


@dataclass(frozen=True)
class Interval:
    """A mean over ``n`` images with its bootstrap 95 % interval."""

    mean: float
    low: float
    high: float
    n: int


def bootstrap_mean(values: Sequence[float], *, seed: int = 0, resamples: int = RESAMPLES) -> Interval:
    """Mean and percentile-bootstrap 95 % interval over images.

    The interval speaks of the choice of images only, not of the choice of seed or training data.

    Args:
        values: One number per image.
        seed: Seed of the resampling.
        resamples: How many times to resample.

    Raises:
        ValueError: There are no values.
    """
    if not values:
        raise ValueError("no values to average")
    observed = np.asarray(values, dtype=np.float64)
    rng = np.random.default_rng(seed)
    at_once = max(1, _DRAWS_AT_ONCE // len(observed))
    sizes = [min(at_once, resamples - start) for start in range(0, resamples, at_once)]
    drawn = (observed[rng.integers(len(observed), size=(rows, len(observed)))] for rows in sizes)
    means = np.concatenate([draws.mean(axis=1) for draws in drawn])
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(float(observed.mean()), float(low), float(high), len(observed))
