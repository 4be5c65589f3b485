"""How well a mask fits the truth, and how sure a mean over images is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
CONFIDENCE = 0.95


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


def overlap(prediction: NDArray[np.bool_], truth: NDArray[np.bool_]) -> Overlap:
    """Count pixels of two masks [H, W].

    Raises:
        ValueError: The masks differ in shape.
    """
    if prediction.shape != truth.shape:
        raise ValueError(f"masks of shapes {prediction.shape} and {truth.shape} cannot be compared")
    return Overlap(
        int(np.count_nonzero(prediction & truth)),
        int(np.count_nonzero(prediction)),
        int(np.count_nonzero(truth)),
    )


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
    means = [observed[rng.integers(len(observed), size=len(observed))].mean() for _ in range(resamples)]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(float(observed.mean()), float(low), float(high), len(observed))
