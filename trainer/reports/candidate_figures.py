"""Calibration and wording of one contender, over all parts it was measured on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trainer.gate.measure import Part
from trainer.gate.reliability import Curve, PixelReliability, calibration_error, confidence_curve
from trainer.sensitivity import Sensitivity


@dataclass(frozen=True)
class SideFigures:
    """What a report shows of one contender beside its Dice.

    Attributes:
        rows: Rows it was measured on.
        seconds: Time that its masks took, all rows together.
        pixels, pixel_error: Reliability of pixel probabilities, and its ECE.
        masks, mask_error: Confidence of masks against Dice, and its ECE; None where all are empty.
        wording: Summary as :meth:`trainer.sensitivity.Sensitivity.summary` gives it, where measured.
    """

    rows: int
    seconds: float
    pixels: Curve
    pixel_error: float | None
    masks: Curve
    mask_error: float | None
    wording: dict[str, Any] | None


def figures_of(parts: Sequence[Part], side: str) -> SideFigures:
    """Join what was measured of one side."""
    results = [part.results[side] for part in parts if side in part.results]
    pixels = sum((result.pixels for result in results), PixelReliability())
    confidence = [value for result in results for value in result.confidence]
    dice = [score.counts.dice for result in results for score in result.scores]
    masks = confidence_curve(confidence, dice)
    asked = [result.sensitivity for result in results if result.sensitivity is not None]
    wording = None
    if asked:
        ways = tuple(row for each in asked for row in each.ways)
        wording = Sensitivity(ways, tuple(row for each in asked for row in each.dice)).summary()
    return SideFigures(
        rows=len(dice),
        seconds=sum(result.seconds for result in results),
        pixels=pixels.curve(),
        pixel_error=pixels.error,
        masks=masks,
        mask_error=calibration_error(masks),
        wording=wording,
    )
