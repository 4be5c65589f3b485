"""Compare the candidate with another contender on the same rows, paired, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from trainer.gate.measure import CANDIDATE, Part
from trainer.gate.statistics import Estimate, clustered_mean
from trainer.multiclass import class_of
from trainer.scores import ImageScore
from trainer.sensitivity import Sensitivity


class Pair(BaseModel):
    """Means of both contenders over the same rows, and the mean of candidate minus other."""

    model_config = ConfigDict(frozen=True)

    candidate: float
    other: float
    difference: Estimate


class Portion(BaseModel):
    """Dice on the rows of one class, phrase or label."""

    model_config = ConfigDict(frozen=True)

    name: str
    dice: Pair


class FalseAlarms(BaseModel):
    """What is marked where there is nothing to find.

    Attributes:
        any: Share of such rows that get a mask at all.
        large: Share of them whose mask exceeds the rule's ``large_share`` of the image.
        area: Mean share of the image that is marked.
    """

    model_config = ConfigDict(frozen=True)

    any: Pair
    large: Pair
    area: Pair


class Comparison(BaseModel):
    """The candidate against one other contender on the rows that both were measured on.

    Attributes:
        against: ``champion`` or ``zero_shot``.
        dice, iou: Over all rows; two empty masks agree (1).
        dice_where_present: Over the rows with something to find; None where there are none.
        by_class: Per class; where a dataset names none, per phrase.
        by_phrase: Per phrase asked with.
        by_label: Per label of the image as a whole, such as ``benign``, where there are labels.
        false_alarms: On rows with nothing to find; None where there are none.
        sensitivity: Range of Dice over wordings; None where that was not measured.
    """

    model_config = ConfigDict(frozen=True)

    against: str
    dice: Pair
    iou: Pair
    dice_where_present: Pair | None
    by_class: tuple[Portion, ...]
    by_phrase: tuple[Portion, ...]
    by_label: tuple[Portion, ...]
    false_alarms: FalseAlarms | None
    sensitivity: Pair | None


@dataclass(frozen=True)
class _Row:
    """One row under both contenders, candidate first."""

    unit: int
    class_name: str
    phrase: str
    label: str | None
    scores: tuple[ImageScore, ImageScore]
    marked: tuple[float, float]
    ranges: tuple[float, float] | None

    @property
    def empty(self) -> bool:
        return not self.scores[0].counts.truth


def compare(
    parts: Sequence[Part], against: str, *, confidence: float, large_share: float, seed: int
) -> Comparison | None:
    """Compare the candidate with ``champion`` or ``zero_shot``.

    Args:
        parts: What was measured; those without the other contender do not count.
        against: The other contender's side.
        confidence: Of the intervals.
        large_share: Share of an image above which a mask counts as large.
        seed: Seed of the resampling.

    Returns:
        None where no part has the other contender.
    """
    rows = _rows(parts, against)
    if not rows:
        return None

    def pair(chosen: Sequence[_Row], value: Callable[[_Row, int], float]) -> Pair:
        first, second = ([value(row, side) for row in chosen] for side in (0, 1))
        gains = [a - b for a, b in zip(first, second, strict=True)]
        units = [row.unit for row in chosen]
        difference = clustered_mean(gains, units, confidence=confidence, seed=seed)
        return Pair(candidate=float(np.mean(first)), other=float(np.mean(second)), difference=difference)

    def portions(key: Callable[[_Row], str | None]) -> tuple[Portion, ...]:
        found: dict[str, list[_Row]] = {}
        for row in rows:
            if (name := key(row)) is not None:
                found.setdefault(name, []).append(row)
        return tuple(Portion(name=name, dice=pair(found[name], _dice)) for name in sorted(found))

    present, empty = [r for r in rows if not r.empty], [r for r in rows if r.empty]
    alarms = None
    if empty:
        alarms = FalseAlarms(
            any=pair(empty, lambda row, side: float(row.marked[side] > 0)),
            large=pair(empty, lambda row, side: float(row.marked[side] > large_share)),
            area=pair(empty, lambda row, side: row.marked[side]),
        )
    asked = all(row.ranges is not None for row in rows)
    return Comparison(
        against=against,
        dice=pair(rows, _dice),
        iou=pair(rows, lambda row, side: row.scores[side].counts.iou),
        dice_where_present=pair(present, _dice) if present else None,
        by_class=portions(lambda row: row.class_name),
        by_phrase=portions(lambda row: row.phrase),
        by_label=portions(lambda row: row.label),
        false_alarms=alarms,
        sensitivity=pair(rows, _range) if asked else None,
    )


def ranges_of(sensitivity: Sensitivity) -> list[float]:
    """Largest minus smallest Dice over wordings, per row."""
    return [max(dice.values()) - min(dice.values()) for dice in sensitivity.dice]


def _dice(row: _Row, side: int) -> float:
    return row.scores[side].counts.dice


def _range(row: _Row, side: int) -> float:
    return 0.0 if row.ranges is None else row.ranges[side]


def _rows(parts: Sequence[Part], against: str) -> list[_Row]:
    """Every row on which both contenders were measured; units have one number over all parts."""
    numbers: dict[str, int] = {}
    rows = []
    for part in parts:
        if against not in part.results:
            continue
        sides = part.results[CANDIDATE], part.results[against]
        ranges = [None if side.sensitivity is None else ranges_of(side.sensitivity) for side in sides]
        for row, item in enumerate(part.examples.items):
            rows.append(
                _Row(
                    numbers.setdefault(part.units[row], len(numbers)),
                    class_of(part.examples, row),
                    part.examples.phrases[row][0],
                    item.label,
                    (sides[0].scores[row], sides[1].scores[row]),
                    (sides[0].marked[row], sides[1].marked[row]),
                    None if ranges[0] is None or ranges[1] is None else (ranges[0][row], ranges[1][row]),
                )
            )
    return rows
