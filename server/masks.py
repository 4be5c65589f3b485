"""What is measured of a mask."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Measures:
    """Measures of one mask.

    Attributes:
        box: x0, y0, x1, y1 in pixels, half-open; None for an empty mask.
        area_px: Pixels in the mask.
        area_mm2: Square millimetres, where the spacing is known.
        confidence: Mean probability inside the mask; None for an empty mask.
    """

    box: tuple[int, int, int, int] | None
    area_px: int
    area_mm2: float | None
    confidence: float | None


def binarize(probability: NDArray[np.float32], threshold: float) -> NDArray[np.bool_]:
    """Where a probability map reaches a threshold."""
    mask: NDArray[np.bool_] = probability >= threshold
    return mask


def label_map(probabilities: Iterable[NDArray[np.float32]], threshold: float) -> NDArray[np.uint8]:
    """Which of several things each pixel most probably is.

    Args:
        probabilities: [H, W] each, at least one and at most 255; looked at one at a time, since
            several of a large image would fill the memory.
        threshold: Where none reaches it, there is background.

    Returns:
        [H, W]: 1 for the first, 2 for the second; where two are equal, the earlier; 0 for background.
    """
    labels: NDArray[np.uint8] | None = None
    for label, probability in enumerate(probabilities, start=1):
        if labels is None:
            best = probability.copy()
            labels = binarize(probability, threshold).astype(np.uint8)
            continue
        better = (probability > best) & (probability >= threshold)
        labels[better] = label
        np.maximum(best, probability, out=best)
    if labels is None:
        raise ValueError("a label map needs at least one probability map")
    return labels


def measure(
    mask: NDArray[np.bool_], probability: NDArray[np.float32], spacing: tuple[float, float] | None
) -> Measures:
    """Measure a mask.

    Args:
        mask: [H, W].
        probability: [H, W], 0..1.
        spacing: Millimetres between rows and between columns, if known.
    """
    area = int(np.count_nonzero(mask))
    area_mm2 = None if spacing is None else area * spacing[0] * spacing[1]
    if area == 0:
        return Measures(None, 0, area_mm2, None)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    # A sum over millions of float32 loses digits; float64 does not.
    confidence = float(probability.mean(where=mask, dtype=np.float64))
    return Measures(box, area, area_mm2, confidence)
