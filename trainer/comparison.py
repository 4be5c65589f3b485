"""Zero-shot against a checkpoint on the same images, as JSON and as a table."""

from __future__ import annotations

from typing import Any

from trainer.scores import Evaluation, paired_difference

REPORT_FORMAT = 1
FIGURES = ("dice", "iou", "hd95", "predicted_px")
HD95_RULE = (
    "HD95 is in pixels of the image's own size; 0 where truth and mask are both empty, and undefined, "
    "so left out and counted, where exactly one is"
)


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
        "hd95_rule": HD95_RULE,
    }
    before = zero_shot.summary()
    # Plain means first, for lists that show a line per checkpoint.
    report |= {"zero_shot_dice": before["dice"]["mean"], "zero_shot_iou": before["iou"]["mean"]}
    if tuned is not None:
        after = tuned.summary()
        report |= {"dice": after["dice"]["mean"], "iou": after["iou"]["mean"], "tuned": after}
        report["difference"] = paired_difference(zero_shot, tuned)
    report["zero_shot"] = before
    report["by_phrase"] = _by_phrase(zero_shot, tuned)
    images = [
        {k: row[k] for k in ("name", "phrase", "truth_px")} | {"zero_shot": {k: row[k] for k in FIGURES}}
        for row in zero_shot.rows()
    ]
    if tuned is not None:
        for image, row in zip(images, tuned.rows(), strict=True):
            image["tuned"] = {k: row[k] for k in FIGURES}
    return report | {"images": images}


def _by_phrase(zero_shot: Evaluation, tuned: Evaluation | None) -> list[dict[str, Any]]:
    after = {} if tuned is None else tuned.by_phrase()
    rows = []
    for phrase, part in zero_shot.by_phrase().items():
        row: dict[str, Any] = {"phrase": phrase, "n": len(part.scores), "zero_shot": part.summary()}
        if phrase in after:
            row |= {"tuned": after[phrase].summary(), "difference": paired_difference(part, after[phrase])}
        rows.append(row)
    return rows


def figure(interval: dict[str, Any] | None, digits: int = 3) -> str:
    """A mean with its interval, in words."""
    if interval is None:
        return "none"
    mean, low, high = (f"{interval[k]:.{digits}f}" for k in ("mean", "low", "high"))
    return f"{mean} ({low} to {high})"


def figures_table(report: dict[str, Any]) -> list[tuple[str, ...]]:
    """Rows of measure and zero-shot, and of tuned and difference where there is a tuned pack."""
    sides = [report[side] for side in ("zero_shot", "tuned") if side in report]
    difference = report.get("difference")
    rows: list[tuple[str, ...]] = []
    blank = () if difference is None else ("",)
    # Reports of earlier versions have no HD95.
    measures = (("Dice", "dice", 3), ("IoU", "iou", 3), ("HD95, px", "hd95", 1))
    for name, key, digits in (m for m in measures if m[1] in sides[0]):
        last = () if difference is None else (figure(difference[key], digits),)
        rows.append((name, *(figure(side[key], digits) for side in sides), *last))
    if any(side.get("hd95_undefined") for side in sides):
        rows.append(("HD95 undefined", *(f"{side['hd95_undefined']} images" for side in sides), *blank))
    if report["empty_truths"]:
        rows.append(("Dice where present", *(figure(s["dice_where_present"]) for s in sides), *blank))
    rows.append(("pooled IoU", *(f"{side['pooled_iou']:.3f}" for side in sides), *blank))
    return rows


def phrases_table(report: dict[str, Any]) -> list[tuple[str, ...]]:
    """Rows of phrase, images, Dice, IoU and HD95 of zero-shot, and of tuned where there is a tuned pack."""
    rows = []
    for part in report["by_phrase"]:
        cells: list[str] = []
        for side in (part[s] for s in ("zero_shot", "tuned") if s in part):
            cells += [figure(side["dice"]), figure(side["iou"]), figure(side["hd95"], 1)]
        rows.append((part["phrase"], str(part["n"]), *cells))
    return rows
