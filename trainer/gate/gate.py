"""The gate: choose what to compare on, compare, decide."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch

from models_store.identity import BaseIdentity
from models_store.vlsm import FrozenVLSM
from trainer.data.examples import Examples, examples_digest
from trainer.evaluate import BATCH
from trainer.gate.crossval import TrainingPart, cross_validate, seen_rows
from trainer.gate.decision import decide
from trainer.gate.judge import Comparison, compare
from trainer.gate.measure import (
    CANDIDATE,
    CHAMPION,
    UNTUNED,
    ZERO,
    Contender,
    Measure,
    Part,
    Told,
    measure_part,
)
from trainer.gate.record import GateRecord, Named, RowRecord, RowResult
from trainer.gate.route import champion_note, choose_route, route_of
from trainer.gate.rule import PromotionRule
from trainer.multiclass import class_of
from trainer.scores import BOOTSTRAP_SEED


@dataclass(frozen=True)
class Judged:
    """A decision, and the measurements behind it for a report."""

    record: GateRecord
    parts: tuple[Part, ...]


def judge_candidate(
    vlsm: FrozenVLSM,
    candidate: Contender,
    val: Examples | None,
    *,
    rule: PromotionRule,
    device: torch.device,
    champion: Contender | None = None,
    champion_saw: frozenset[str] | None = None,
    not_compared: str | None = None,
    units: Sequence[str] = (),
    grouped: bool = False,
    training: Callable[[], TrainingPart] | None = None,
    names: Mapping[str, str] | None = None,
    data: Mapping[str, str] | None = None,
    seed: int = BOOTSTRAP_SEED,
    batch_size: int = BATCH,
    sensitivity: bool = True,
    progress: Told | None = None,
) -> Judged:
    """Decide whether a candidate takes the champion's place.

    The frozen validation split decides where it has enough units. Else the candidate's recipe is
    cross-validated inside the training part.

    Args:
        vlsm: The frozen model.
        candidate: The candidate.
        val: The frozen validation rows, on which nothing was tuned; None where there are none yet.
        rule: The promotion rule.
        device: Where the model is.
        champion: The one in use; None where there is none.
        champion_saw: Names or SHA-256 digests of the images that the champion was tuned on. None: not
            known; then it counts as tuned on every training image and on no validation image.
        not_compared: Why the champion cannot be measured, such as that it is of another base model. The
            record names it, and the candidate is not promoted over it.
        units: The independent unit of each validation row, of :func:`trainer.gate.measure.units_of`.
        grouped: Whether units are groups such as patients.
        training: Gives what to cross-validate on, and is asked only where that is needed; None where
            that cannot be done.
        names: What to call ``candidate`` and ``champion``.
        data: Further digests for the record, such as that of the dataset's revision.
        seed: Of folds and resampling.
        batch_size: Rows per forward pass.
        sensitivity: Whether to measure other wordings too.
        progress: Told how far it is.
    """
    # Held in the order they are reported in.
    contenders = {CANDIDATE: candidate}
    rival = champion if not_compared is None else None
    if rival is not None:
        contenders[CHAMPION] = rival
    contenders[ZERO] = UNTUNED
    saw = set() if rival is None or val is None else seen_rows(val, units, champion_saw or ())
    unit: Literal["image", "group"] = "group" if grouped else "image"
    usable = len({each for row, each in enumerate(units) if row not in saw})
    part = None if training is None or usable >= rule.least_val_units else training()
    kind, why = choose_route(usable, part, rule, unit=unit)
    measure: Measure = partial(
        measure_part,
        vlsm,
        device=device,
        batch_size=batch_size,
        sensitivity=sensitivity,
        progress=progress,
    )
    if part is None or kind == "val":
        parts = [] if val is None else _val_parts(contenders, val, units, saw, measure)
    else:
        parts = cross_validate(
            part,
            rival,
            champion_saw,
            measure=measure,
            folds=rule.folds,
            seed=seed,
            progress=progress,
        )
    note = not_compared if rival is None else champion_note(kind, champion_saw)
    route = route_of(parts, kind, why, rule, unit=unit, champion=note)
    comparisons = {
        side: found for side in (CHAMPION, ZERO) if (found := _compare(parts, side, rule, seed)) is not None
    }
    least = rule.least_val_units if kind == "val" else rule.least_training_units
    against: Literal["champion", "zero_shot"] = (
        "champion" if rival is not None and route.champion_units >= least else "zero_shot"
    )
    same = champion is not None and champion.pack.digest == candidate.pack.digest
    verdict, reason, clauses = decide(
        comparisons.get(against),
        comparisons.get(ZERO),
        rule=rule,
        route=route,
        has_champion=champion is not None,
        same_pack=same,
        not_compared=not_compared,
    )
    called = {CANDIDATE: CANDIDATE, CHAMPION: CHAMPION} | dict(names or {})
    measured = val if part is None or kind == "val" else part.examples
    record = GateRecord(
        verdict=verdict,
        reason=reason,
        base=BaseIdentity(name=vlsm.spec.name, digest=vlsm.spec.digest),
        candidate=Named(name=called[CANDIDATE], digest=candidate.pack.digest),
        champion=None if champion is None else Named(name=called[CHAMPION], digest=champion.pack.digest),
        against=against,
        route=route,
        rule=rule,
        clauses=clauses,
        comparisons=comparisons,
        data=dict(data or {}) | ({} if measured is None else {"measured": examples_digest(measured)}),
        seed=seed,
        rows=tuple(_row_records(parts)),
    )
    return Judged(record, tuple(parts))


def _val_parts(
    contenders: Mapping[str, Contender],
    val: Examples,
    units: Sequence[str],
    saw: set[int],
    measure: Measure,
) -> list[Part]:
    without = {side: each for side, each in contenders.items() if side != CHAMPION}
    portions = [([row for row in range(len(val)) if row not in saw], contenders), (sorted(saw), without)]
    return [
        measure(sides, val.select(rows), [units[row] for row in rows], name="val")
        for rows, sides in portions
        if rows
    ]


def _compare(parts: Sequence[Part], side: str, rule: PromotionRule, seed: int) -> Comparison | None:
    return compare(parts, side, confidence=rule.confidence, large_share=rule.large_share, seed=seed)


def _row_records(parts: Sequence[Part]) -> list[RowRecord]:
    return [
        RowRecord(
            name=item.name,
            phrase=part.examples.phrases[row][0],
            class_name=class_of(part.examples, row),
            label=item.label,
            truth_px=part.results[CANDIDATE].scores[row].counts.truth,
            part=part.name,
            sides={
                side: RowResult(
                    dice=result.scores[row].counts.dice,
                    predicted_px=result.scores[row].counts.predicted,
                    confidence=result.confidence[row],
                    presence=result.presence[row],
                )
                for side, result in part.results.items()
            },
        )
        for part in parts
        for row, item in enumerate(part.examples.items)
    ]
