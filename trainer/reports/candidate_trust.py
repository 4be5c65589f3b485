"""Sections of a candidate's report on how far to trust it, and on how it came about."""

from __future__ import annotations

from collections.abc import Mapping

from trainer.comparison import figure
from trainer.gate.absence import AbsenceCheck
from trainer.gate.record import GateRecord
from trainer.reports.candidate_facts import CandidateFacts, changes
from trainer.reports.candidate_figures import SideFigures
from trainer.reports.candidate_plots import NAMES, reliability_plot
from trainer.reports.document import Block, Code, Picture, Section, Table, Text
from trainer.reports.plots import curves

KINDS = {
    "empty": "images with nothing to find",
    "class": "classes that an image lacks",
    "thing": "things that no such image holds",
}


def wording_section(sides: Mapping[str, SideFigures]) -> Section | None:
    """How much the wording matters, where it was measured."""
    asked = {side: figures.wording for side, figures in sides.items() if figures.wording is not None}
    if not asked:
        return None
    spread = Table(
        ("spread of an image's Dice over wordings", *(NAMES[side] for side in asked)),
        (
            ("standard deviation", *(figure(found["deviation"]) for found in asked.values())),
            ("largest minus smallest", *(figure(found["range"]) for found in asked.values())),
            ("rows", *(str(found["range"]["n"]) for found in asked.values())),
        ),
    )
    ways = {way["label"]: way["example"] for found in asked.values() for way in found["paraphrases"]}
    dice = {
        side: {way["label"]: figure(way["dice"]) for way in found["paraphrases"]}
        for side, found in asked.items()
    }
    each = Table(
        ("asked as", "for example", *(f"Dice, {NAMES[side]}" for side in asked)),
        tuple(
            (label, words, *(dice[side].get(label, "") for side in asked)) for label, words in ways.items()
        ),
        words=2,
    )
    return Section("Sensitivity to the wording", [spread, each])


def calibration_section(sides: Mapping[str, SideFigures], absence: Mapping[str, AbsenceCheck]) -> Section:
    """Reliability of pixels and masks, and of the absent decision."""
    plot = reliability_plot(
        {side: figures.pixels for side, figures in sides.items()},
        {side: figures.masks for side, figures in sides.items()},
    )
    errors = Table(
        ("expected calibration error", *(NAMES[side] for side in sides)),
        (
            ("pixels' probability", *(_number(figures.pixel_error) for figures in sides.values())),
            ("masks' confidence, against Dice", *(_number(figures.mask_error) for figures in sides.values())),
        ),
    )
    caption = "Left: pixels; right: masks. On the line what is said is so; size shows how many."
    blocks: list[Block] = [Picture("calibration.png", caption, plot), errors]
    if not absence:
        blocks.append(Text("No contender makes an absent decision: their cuts are not known."))
        return Section("Calibration", blocks)
    kinds = list(dict.fromkeys(kind for check in absence.values() for kind in check.specificities))
    rows = [
        ("of what is there, found present", *(_rate(c.sensitivity, c.present) for c in absence.values())),
        *(
            (
                f"of {KINDS[kind]}, found absent",
                *(_rate(c.specificities.get(kind), c.absent.get(kind, 0)) for c in absence.values()),
            )
            for kind in kinds
        ),
        ("promised when the cut was made: present", *(_promise(c, "sensitivity") for c in absence.values())),
        ("promised when the cut was made: absent", *(_promise(c, "specificity") for c in absence.values())),
    ]
    header = ("absent decision, share that is right", *(NAMES[side] for side in absence))
    blocks.append(Table(header, tuple(rows)))
    return Section("Calibration", blocks)


def data_section(record: GateRecord, facts: CandidateFacts) -> Section:
    """What it was tuned on and measured on."""
    rows = [*facts.data.items(), *((f"SHA-256, {name}", digest) for name, digest in record.data.items())]
    rows.append(("rows measured on", f"{record.route.rows} of {record.route.units} {record.route.unit}s"))
    return Section("Data", [Table(("what", "value"), tuple(rows), words=2)])


def changes_section(facts: CandidateFacts) -> Section | None:
    """What differs from the champion."""
    if facts.champion_configuration is None:
        return None
    rows = changes(facts.configuration, facts.champion_configuration)
    if not rows:
        return Section("What changed", [Text("Nothing: the two configurations are the same.")])
    table = Table(("setting", "champion", "candidate"), tuple(rows), words=3)
    return Section("What changed", [table, Text("Everything else is the same.")])


def training_section(facts: CandidateFacts) -> Section | None:
    """Curves, where the candidate brought them."""
    training = facts.evaluation.get("training") or {}
    if not training.get("history"):
        return None
    words = (
        f"{training['images']} rows trained on, {training['epochs']} epochs; epoch {training['best_epoch']} "
        "was chosen."
    )
    note = facts.evaluation.get("selection", {}).get("note", "")
    picture = Picture("curves.png", "Loss and Dice by epoch", curves(dict(training)))
    return Section("Training", [Text(f"{words} {note}".strip()), picture])


def reproduction_section(record: GateRecord, facts: CandidateFacts) -> Section:
    """Time, cost, and the command that makes the pack again."""
    blocks: list[Block] = []
    if facts.costs:
        blocks.append(Table(("time and cost", "value"), tuple(facts.costs.items()), words=2))
    if facts.command is None:
        blocks.append(Text("The command is not known: this version does not state its settings."))
    else:
        blocks += [Text("The same data, base and command make the same pack again:"), Code(facts.command)]
    blocks.append(Text(f"The pack's digest is {record.candidate.digest}. {facts.command_note}".strip()))
    return Section("Time, cost, and how to make it again", blocks)


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


def _rate(share: float | None, of: int) -> str:
    return "not asked" if share is None else f"{share:.0%} of {of}"


def _promise(check: AbsenceCheck, key: str) -> str:
    return f"{check.promised[key]:.0%}"
