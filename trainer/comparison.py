"""Zero-shot against a checkpoint on the same images, as JSON and as a table."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from trainer.evaluate import Evaluation, bootstrap_interval

REPORT_FORMAT = 1
FIGURES = ("dice", "iou", "predicted_px")


def comparison_report(
    zero_shot: Evaluation,
    tuned: Evaluation | None,
    *,
    split: str,
    prompt_key: str | None,
    phrase: str | None,
) -> dict[str, Any]:
    """Figures of the base model alone and, where given, of a tuned pack on the same images.

    Args:
        zero_shot: The base model without prompts.
        tuned: A pack on the same images in the same order, or None.
        split: The split they come from.
        prompt_key: The annotated prompt they were asked with; irrelevant beside ``phrase``.
        phrase: The one phrase they were all asked with, if there was one.
    """
    report: dict[str, Any] = {
        "format": REPORT_FORMAT,
        "split": split,
        "n": len(zero_shot.scores),
        "empty_truths": sum(not s.counts.truth for s in zero_shot.scores),
        "prompt_key": None if phrase is not None else prompt_key,
        "phrase": phrase,
        "threshold": zero_shot.threshold,
        "resolution": "each image's own",
        "interval": "bootstrap over images, 95 %",
    }
    before = zero_shot.summary()
    # Plain means first, for lists that show a line per checkpoint.
    report |= {"zero_shot_dice": before["dice"]["mean"], "zero_shot_iou": before["iou"]["mean"]}
    if tuned is not None:
        after = tuned.summary()
        report |= {"dice": after["dice"]["mean"], "iou": after["iou"]["mean"], "tuned": after}
        report["difference"] = paired_difference(zero_shot, tuned)
    report["zero_shot"] = before
    images = [
        {k: row[k] for k in ("name", "phrase", "truth_px")} | {"zero_shot": {k: row[k] for k in FIGURES}}
        for row in zero_shot.rows()
    ]
    if tuned is not None:
        for image, row in zip(images, tuned.rows(), strict=True):
            image["tuned"] = {k: row[k] for k in FIGURES}
    return report | {"images": images}


def paired_difference(before: Evaluation, after: Evaluation) -> dict[str, Any]:
    """Mean of after minus before per image, with bootstrap 95 % intervals.

    Raises:
        ValueError: The two are not of the same images in the same order.
    """
    if [s.name for s in before.scores] != [s.name for s in after.scores]:
        raise ValueError("a paired difference needs the same images on both sides")

    def differ(old: list[float], new: list[float]) -> dict[str, Any]:
        return asdict(bootstrap_interval([b - a for a, b in zip(old, new, strict=True)]))

    return {"dice": differ(before.dice, after.dice), "iou": differ(before.iou, after.iou)}


def figure(interval: dict[str, Any] | None) -> str:
    """A mean with its interval, in words."""
    if interval is None:
        return "none"
    return f"{interval['mean']:.3f} ({interval['low']:.3f} to {interval['high']:.3f})"


def figures_table(report: dict[str, Any]) -> list[tuple[str, ...]]:
    """Rows of measure and zero-shot, and of tuned and difference where there is a tuned pack."""
    sides = [report[side] for side in ("zero_shot", "tuned") if side in report]
    rows: list[tuple[str, ...]] = []
    for name, key in (("Dice", "dice"), ("IoU", "iou")):
        difference = (figure(report["difference"][key]),) if "difference" in report else ()
        rows.append((name, *(figure(side[key]) for side in sides), *difference))
    blank = ("",) if "difference" in report else ()
    if report["empty_truths"]:
        rows.append(("Dice where present", *(figure(s["dice_where_present"]) for s in sides), *blank))
    rows.append(("pooled IoU", *(f"{side['pooled_iou']:.3f}" for side in sides), *blank))
    return rows
