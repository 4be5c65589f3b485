"""Which images decide: the frozen validation split, or folds of the training part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from trainer.gate.crossval import TrainingPart, seen_rows
from trainer.gate.measure import CHAMPION, Part
from trainer.gate.record import Route
from trainer.gate.rule import PromotionRule

Kind = Literal["val", "cross-validation"]


def choose_route(
    val_units: int, training: TrainingPart | None, rule: PromotionRule, *, unit: str
) -> tuple[Kind, str]:
    """Where to compare, and why there.

    Args:
        val_units: Units of the validation split that both contenders may be measured on.
        training: What could be cross-validated on; None where that cannot be done.
        rule: The rule.
        unit: ``image`` or ``group``.
    """
    if val_units >= rule.least_val_units:
        return "val", (
            f"the frozen validation split has {val_units} {unit}s to compare on; "
            f"{rule.least_val_units} are enough"
        )
    few = (
        f"the frozen validation split has {val_units} {unit}s to compare on, "
        f"{rule.least_val_units} are asked for"
    )
    if training is None:
        return "val", f"{few}, and no training part was given to cross-validate on"
    leaked = seen_rows(training.examples, training.units, training.start_saw)
    usable = len({unit for row, unit in enumerate(training.units) if row not in leaked})
    if usable < rule.least_training_units:
        return "val", (
            f"{few}, and the training part has {usable}, too few to cross-validate on "
            f"({rule.least_training_units} are asked for)"
        )
    return "cross-validation", (
        f"{few}: the candidate's recipe was tuned again without each of {rule.folds} folds of the training "
        "part and measured on that fold, so the figures are of the recipe and not of this very pack"
    )


def route_of(
    parts: Sequence[Part],
    kind: Kind,
    reason: str,
    rule: PromotionRule,
    *,
    unit: Literal["image", "group"],
    champion: str | None,
) -> Route:
    """What was measured on, after the fact.

    Args:
        parts: What was measured.
        kind: The route.
        reason: Why it was taken.
        rule: The rule.
        unit: What counts as independent.
        champion: What to say of how the champion was kept from what it was tuned on, if there is one.
    """
    fair = [part for part in parts if CHAMPION in part.results]
    return Route(
        kind=kind,
        reason=reason if champion is None else f"{reason}; {champion}",
        unit=unit,
        rows=sum(len(part.examples) for part in parts),
        units=len({each for part in parts for each in part.units}),
        champion_rows=sum(len(part.examples) for part in fair),
        champion_units=len({each for part in fair for each in part.units}),
        folds=rule.folds if kind == "cross-validation" else None,
    )


def champion_note(kind: Kind, saw: frozenset[str] | None) -> str:
    """How the champion was kept from images that it was tuned on."""
    if saw is not None:
        return "the champion was measured only on images that it is known not to have been tuned on"
    if kind == "val":
        return "the champion counts as not tuned on the validation split, since splits never move"
    return "which images the champion was tuned on is not known, so it was measured on none of these"
