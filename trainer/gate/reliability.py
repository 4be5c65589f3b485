"""Whether probabilities mean what they say: reliability of pixels, and of a mask's confidence.

Expected calibration error (ECE) as in Guo et al., On Calibration of Modern Neural Networks (2017):
the mean, over bins of equal width, of the distance between what was said and what was so, each bin
weighing as much as it holds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BINS = 10

Curve = list[dict[str, float]]
"""Per bin that holds something: what was ``said``, what was ``so``, and the ``weight``."""


class PixelReliability:
    """Collects pixels by their probability; each image counts alike, whatever its size."""

    def __init__(self) -> None:
        self._weight, self._said, self._so = (np.zeros(BINS) for _ in range(3))

    def add(
        self,
        probability: NDArray[np.float32],
        truth: NDArray[np.bool_],
        ignored: NDArray[np.bool_] | None = None,
    ) -> None:
        """Add one image.

        Args:
            probability: [H, W] in 0..1.
            truth: [H, W].
            ignored: Pixels nobody labelled, left out.
        """
        if ignored is not None:
            probability, truth = probability[~ignored], truth[~ignored]
        if not probability.size:
            return
        values, labels = probability.ravel(), truth.ravel()
        at = _bins(values)
        self._weight += np.bincount(at, minlength=BINS) / values.size
        self._said += np.bincount(at, values, minlength=BINS) / values.size
        self._so += np.bincount(at, labels, minlength=BINS) / values.size

    def __add__(self, other: PixelReliability) -> PixelReliability:
        total = PixelReliability()
        total._weight = self._weight + other._weight
        total._said, total._so = self._said + other._said, self._so + other._so
        return total

    def curve(self) -> Curve:
        """Mean probability and share of true pixels, per bin."""
        return _curve(self._weight, self._said, self._so)

    @property
    def error(self) -> float | None:
        """The expected calibration error; None where nothing was added."""
        return calibration_error(self.curve())


def confidence_curve(confidence: Sequence[float | None], dice: Sequence[float]) -> Curve:
    """A mask's confidence against the Dice it has, per bin; empty masks have no confidence."""
    pairs = [(said, so) for said, so in zip(confidence, dice, strict=True) if said is not None]
    if not pairs:
        return []
    said, so = np.asarray(pairs).T
    at = _bins(said)
    weight, total_said, total_so = (
        np.bincount(at, w, minlength=BINS) for w in (np.ones(len(said)), said, so)
    )
    return _curve(weight.astype(np.float64), total_said.astype(np.float64), total_so.astype(np.float64))


def calibration_error(curve: Curve) -> float | None:
    """The expected calibration error of a curve; None of an empty one."""
    total = sum(point["weight"] for point in curve)
    if not total:
        return None
    return sum(point["weight"] * abs(point["said"] - point["so"]) for point in curve) / total


def _bins(values: NDArray) -> NDArray[np.intp]:
    return np.clip((values * BINS).astype(np.intp), 0, BINS - 1)


def _curve(weight: NDArray[np.float64], said: NDArray[np.float64], so: NDArray[np.float64]) -> Curve:
    total = weight.sum()
    return [
        {
            "said": float(said[i] / weight[i]),
            "so": float(so[i] / weight[i]),
            "weight": float(weight[i] / total),
        }
        for i in np.flatnonzero(weight)
    ]
