"""Sections of a candidate's report that come from the gate's record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trainer.gate.judge import Comparison, Pair, Portion
from trainer.gate.record import GateRecord, Verdict
from trainer.gate.statistics import Estimate
from trainer.reports.candidate_plots import NAMES, gains_plot, image_by_image
from trainer.reports.content import NOTICE
from trainer.reports.document import Block, Picture, Section, Table, Text

PORTIONS_SHOWN = 50
SAID = {
    Verdict.PROMOTE: "The gate passes: this candidate may take the champion's place.",
    Verdict.KEEP: "Not decided: it stays a candidate.",
    Verdict.REJECT: "The gate refuses this candidate.",
}


def decision_section(record: GateRecord) -> Section:
    """Verdict, route and clauses."""
    clauses = Table(
        ("clause", "outcome", "why"),
        tuple((clause.name, clause.outcome.value, clause.reason) for clause in record.clauses),
        words=3,
    )
    champion = "none" if record.champion is None else f"{record.champion.name}"
    return Section(
        "Decision",
        [
            Text(NOTICE),
            Text(f"{SAID[record.verdict]} {record.reason[:1].upper()}{record.reason[1:]}."),
            clauses,
            Text(
                f"Candidate {record.candidate.name}, champion {champion}, base {record.base.name}. "
                f"Compared on: {record.route.kind}, {record.route.rows} rows of {record.route.units} "
                f"{record.route.unit}s, because {record.route.reason}."
            ),
        ],
    )


def figures_section(record: GateRecord) -> Section:
    """Means of all contenders, and paired changes."""
    blocks: list[Block] = []
    for side, found in record.comparisons.items():
        header = (f"against {NAMES[side]}", "rows", NAMES[side], "candidate", "change")
        measures = [("Dice", found.dice), ("IoU", found.iou)]
        if found.dice_where_present is not None and found.false_alarms is not None:
            measures.append(("Dice where there is something", found.dice_where_present))
        if found.false_alarms is not None:
            alarms = found.false_alarms
            large = f"given one above {record.rule.large_share:.1%} of the image"
            measures += [
                ("nothing there: given a mask", alarms.any),
                (f"nothing there: {large}", alarms.large),
            ]
            measures.append(("nothing there: share of area marked", alarms.area))
        if found.sensitivity is not None:
            measures.append(("range of Dice over wordings", found.sensitivity))
        blocks.append(Table(header, tuple(_row(name, pair) for name, pair in measures)))
    blocks.append(
        Text(
            f"Changes are paired, row by row, with {record.rule.confidence:.0%} intervals by bootstrap over "
            f"{record.route.unit}s."
        )
    )
    return Section("Figures", blocks)


def images_section(record: GateRecord) -> Section:
    """Dice by image, and the change by class and label."""
    blocks: list[Block] = []
    for side in record.comparisons:
        caption = f"Dice of every image: candidate against {NAMES[side]}"
        blocks.append(Picture(f"by-image-{side}.png", caption, image_by_image(record.rows, side)))
    chart = gains_plot(record.comparisons, record.rule.most_class_loss)
    blocks.append(Picture("gains.png", "Mean change in Dice with its interval", chart))
    return Section("Dice by image", blocks)


def portions_section(comparisons: Mapping[str, Comparison]) -> Section | None:
    """Classes, phrases and labels, where there are several."""
    blocks: list[Block] = []
    for side, found in comparisons.items():
        kinds = (("class", found.by_class), ("phrase", found.by_phrase), ("label", found.by_label))
        names: set[tuple[str, ...]] = set()
        for kind, portions in kinds:
            listed = tuple(portion.name for portion in portions)
            # Where a dataset names no classes they are its phrases.
            if len(portions) < 2 or listed in names:
                continue
            names.add(listed)
            header = (kind, f"rows, against {NAMES[side]}", NAMES[side], "candidate", "change")
            blocks.append(Table(header, tuple(_row(p.name, p.dice) for p in _shown(portions))))
            if len(portions) > PORTIONS_SHOWN:
                blocks.append(Text(f"and {len(portions) - PORTIONS_SHOWN} more, in report.json"))
    return Section("Dice by class, phrase and label", blocks) if blocks else None


def _shown(portions: Sequence[Portion]) -> list[Portion]:
    """The portions that lost most come first."""
    return sorted(portions, key=lambda portion: portion.dice.difference.mean)[:PORTIONS_SHOWN]


def _row(name: str, pair: Pair) -> tuple[str, ...]:
    return (
        name,
        str(pair.difference.rows),
        f"{pair.other:.3f}",
        f"{pair.candidate:.3f}",
        change(pair.difference),
    )


def change(estimate: Estimate) -> str:
    """A mean change with its interval, in words."""
    return f"{estimate.mean:+.3f} ({estimate.low:+.3f} to {estimate.high:+.3f})"
