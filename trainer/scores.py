"""What a measurement found, per image and in summary."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from trainer.metrics import Interval, Overlap, bootstrap_mean, pooled_iou

BOOTSTRAP_SEED = 12345


@dataclass(frozen=True)
class ImageScore:
    """One image's result.

    Attributes:
        name: The image.
        phrase: What was asked for.
        counts: Pixels at the image's own size.
        hd95: Surface distance in those pixels; NaN where exactly one mask is empty.
    """

    name: str
    phrase: str
    counts: Overlap
    hd95: float

    def row(self) -> dict[str, Any]:
        """As a row of a JSON report."""
        return {
            "name": self.name,
            "phrase": self.phrase,
            "dice": self.counts.dice,
            "iou": self.counts.iou,
            "hd95": None if math.isnan(self.hd95) else self.hd95,
            "truth_px": self.counts.truth,
            "predicted_px": self.counts.predicted,
            "both_px": self.counts.both,
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> ImageScore:
        """The inverse of :meth:`row`."""
        counts = Overlap(row["both_px"], row["predicted_px"], row["truth_px"])
        hd95 = math.nan if row["hd95"] is None else row["hd95"]
        return cls(row["name"], row["phrase"], counts, hd95)


@dataclass(frozen=True)
class Evaluation:
    """A pack's results on a set of images at one threshold."""

    scores: tuple[ImageScore, ...]
    threshold: float

    @property
    def dice(self) -> list[float]:
        """Dice per image."""
        return [score.counts.dice for score in self.scores]

    @property
    def iou(self) -> list[float]:
        """IoU per image."""
        return [score.counts.iou for score in self.scores]

    @property
    def hd95(self) -> list[float]:
        """HD95 per image, NaN where it is undefined."""
        return [score.hd95 for score in self.scores]

    def summary(self) -> dict[str, Any]:
        """Means with bootstrap 95 % intervals, and pooled IoU.

        ``dice_where_present`` leaves out images whose truth is empty, on which Dice is 0 or 1;
        it is None where all are empty. ``hd95`` is of the images where it is defined, and None
        where it is nowhere; ``hd95_undefined`` counts the others.
        """
        present = [s.counts.dice for s in self.scores if s.counts.truth]
        defined = [d for d in self.hd95 if not math.isnan(d)]
        return {
            "dice": asdict(bootstrap_interval(self.dice)),
            "iou": asdict(bootstrap_interval(self.iou)),
            "hd95": asdict(bootstrap_interval(defined)) if defined else None,
            "hd95_undefined": len(self.scores) - len(defined),
            "pooled_iou": pooled_iou([s.counts for s in self.scores]),
            "dice_where_present": asdict(bootstrap_interval(present)) if present else None,
        }

    def rows(self) -> list[dict[str, Any]]:
        """One row per image."""
        return [score.row() for score in self.scores]

    @classmethod
    def from_rows(cls, rows: Sequence[Mapping[str, Any]], threshold: float) -> Evaluation:
        """The inverse of :meth:`rows`."""
        return cls(tuple(map(ImageScore.from_row, rows)), threshold)

    def by_phrase(self) -> dict[str, Evaluation]:
        """The same results apart for each phrase, in alphabetical order."""
        parts: dict[str, list[ImageScore]] = {}
        for score in self.scores:
            parts.setdefault(score.phrase, []).append(score)
        return {phrase: Evaluation(tuple(parts[phrase]), self.threshold) for phrase in sorted(parts)}


def bootstrap_interval(values: Sequence[float]) -> Interval:
    """Mean over images with its bootstrap 95 % interval, seeded."""
    return bootstrap_mean(values, seed=BOOTSTRAP_SEED)


def paired_difference(before: Evaluation, after: Evaluation) -> dict[str, Any]:
    """Mean of after minus before per image, with bootstrap 95 % intervals.

    HD95 is compared on the images where both sides have one; None where there are none.

    Raises:
        ValueError: The two are not of the same images in the same order.
    """
    if [(s.name, s.phrase) for s in before.scores] != [(s.name, s.phrase) for s in after.scores]:
        raise ValueError("a paired difference needs the same images on both sides")
    differences = {
        key: [b - a for a, b in zip(getattr(before, key), getattr(after, key), strict=True)]
        for key in ("dice", "iou", "hd95")
    }
    differences["hd95"] = [d for d in differences["hd95"] if not math.isnan(d)]
    return {
        key: asdict(bootstrap_interval(values)) if values else None for key, values in differences.items()
    }
