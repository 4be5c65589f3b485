"""From the figures of an evaluation to what its report says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trainer.comparison import figure, figures_table, phrases_table
from trainer.reports.cases import Case
from trainer.reports.document import Block, Document, Gallery, Picture, Section, Table, Text
from trainer.reports.plots import NAMES, curves, dice_distribution, paraphrase_plot, sides_of

NOTICE = "Research use only. Not a medical device. Masks may be wrong; a person must check every one."
PHRASES_SHOWN = 100


def report_document(report: dict[str, Any], *, title: str, cases: Sequence[Case] = ()) -> Document:
    """What a reader wants to know of an evaluation, most wanted first.

    Args:
        report: As :func:`trainer.comparison.comparison_report` makes it, with ``training`` and
            ``sensitivity`` where there are such.
        title: The heading.
        cases: The worst cases.
    """
    sections = [_figures(report), _distribution(report)]
    if len(report["by_phrase"]) > 1:
        sections.append(_phrases(report))
    if "sensitivity" in report:
        sections.append(_sensitivity(report["sensitivity"]))
    # Imported checkpoints may not have brought their curves.
    if report.get("training", {}).get("history"):
        sections.append(_training(report))
    if cases:
        sections.append(_cases(cases))
    return Document(title, [*sections, _method(report)])


def _figures(report: dict[str, Any]) -> Section:
    header = ("measure", "zero-shot", "tuned", "difference")
    rows = tuple(figures_table(report))
    words = f"{report['n']} images of split {report['split']}, threshold {report['threshold']:g}."
    if report["empty_truths"]:
        words += f" {report['empty_truths']} hold nothing to find; there Dice is 1 for an empty mask, else 0."
    blocks: list[Block] = [Text(NOTICE), Text(words), Table(header[: len(rows[0])], rows)]
    if "difference" in report:
        blocks.append(Text(reading(report["difference"]["dice"])))
    return Section("Figures", blocks)


def reading(difference: dict[str, Any]) -> str:
    """What a paired difference in Dice with its interval says, in words."""
    if difference["low"] > 0:
        return "The tuned checkpoint is better on these images: the interval of the difference is above 0."
    if difference["high"] < 0:
        return "The tuned checkpoint is worse on these images: the interval of the difference is below 0."
    return "The interval of the difference holds 0: these images do not tell the two apart."


def _distribution(report: dict[str, Any]) -> Section:
    caption = "Dice over images" + ("; right, each image before and after" if "tuned" in report else "")
    return Section("How Dice is spread", [Picture("dice.png", caption, dice_distribution(report))])


def _phrases(report: dict[str, Any]) -> Section:
    columns = [f"{m}, {NAMES[s]}" for s in sides_of(report) for m in ("Dice", "IoU", "HD95")]
    rows = tuple(phrases_table(report))
    blocks: list[Block] = [Table(("phrase", "images", *columns), rows[:PHRASES_SHOWN])]
    if len(rows) > PHRASES_SHOWN:
        blocks.append(Text(f"and {len(rows) - PHRASES_SHOWN} more phrases, in report.json"))
    return Section("By phrase", blocks)


def _sensitivity(sensitivity: dict[str, Any]) -> Section:
    sides = sides_of(sensitivity)
    spread = Table(
        ("spread of an image's Dice over ways of asking", *(NAMES[s] for s in sides)),
        (
            ("standard deviation", *(figure(sensitivity[s]["deviation"]) for s in sides)),
            ("largest minus smallest", *(figure(sensitivity[s]["range"]) for s in sides)),
        ),
    )
    asked = sensitivity[sides[0]]["paraphrases"]
    each = Table(
        ("asked as", "for example", *(f"Dice, {NAMES[s]}" for s in sides)),
        tuple(
            (p["label"], p["example"], *(figure(sensitivity[s]["paraphrases"][i]["dice"]) for s in sides))
            for i, p in enumerate(asked)
        ),
        words=2,
    )
    words = (
        f"{sensitivity['images']} images, each asked for in {len(asked)} ways. "
        "Near 0 means that it does not matter how one asks."
    )
    chart = Picture("paraphrases.png", "mean Dice under each way of asking", paraphrase_plot(sensitivity))
    return Section("Sensitivity to the wording", [Text(words), spread, chart, each])


def _training(report: dict[str, Any]) -> Section:
    training = report["training"]
    words = (
        f"{training['images']} training images, {training['epochs']} epochs, "
        f"{training['seconds'] / 60:.1f} minutes; epoch {training['best_epoch']} was chosen."
    )
    if "selection" in report:
        words += f" {report['selection']['note']}"
    return Section(
        "Training", [Text(words), Picture("curves.png", "loss and Dice by epoch", curves(training))]
    )


def _cases(cases: Sequence[Case]) -> Section:
    pictures = tuple(case.picture(f"worst-{i:02d}.jpg") for i, case in enumerate(cases, start=1))
    return Section("Worst cases", [Text("Outlines: truth green, mask magenta."), Gallery(pictures)])


def _method(report: dict[str, Any]) -> Section:
    words = [
        "Dice and IoU are per image at its own resolution, then averaged; two empty masks agree (1). "
        "Pooled IoU counts all pixels of the set, so large objects weigh more.",
        "In brackets: 95 % interval by bootstrap over images. It says how much the choice of images "
        "matters, and nothing of another seed or other training images.",
    ]
    if "hd95_rule" in report:
        words.append(f"{report['hd95_rule']}.")
    return Section("How this was measured", [Text(w) for w in words])
