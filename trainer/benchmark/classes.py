"""Figures apart for each class, of datasets with several."""

from __future__ import annotations

from trainer.benchmark.compare import Finished, mean_dice
from trainer.reports.document import Table
from trainer.reports.markdown import markdown_table

JOINT = ("joint_dice", "joint_pooled_dice", "joint_pooled_iou")
JOINT_WORDS = (
    "All classes told apart at once, one label per pixel (means over classes; before it the mean over "
    "all masks when each class is asked for alone, in the images that have it):"
)


def class_tables(cells: Finished) -> list[str]:
    """Markdown of Dice per class, and of all classes told apart at once; nothing for a single class."""
    parts: list[str] = []
    apart = [(cell, content) for cell, content in cells if "by_phrase" in content]
    if apart:
        columns = [
            [f"{row['figures']['dice']['mean']:.3f}" for row in content["by_phrase"]] for _, content in apart
        ]
        rows = tuple(
            (row["phrase"], str(row["n"]), *(column[i] for column in columns))
            for i, row in enumerate(apart[0][1]["by_phrase"])
        )
        header = ("phrase", "masks", *(f"{cell.method}, {cell.base}" for cell, _ in apart))
        parts += ["Mean Dice by phrase:", markdown_table(Table(header, rows))]
    joint = [(cell, content) for cell, content in cells if "multiclass" in content]
    if joint:
        means = [[content["multiclass"]["mean"][key]["mean"] for key in JOINT] for _, content in joint]
        rows = tuple(
            (cell.base, cell.method, f"{mean_dice(content):.3f}", *(f"{mean:.3f}" for mean in row))
            for (cell, content), row in zip(joint, means, strict=True)
        )
        header = ("base", "method", "alone", "Dice", "Dice, pooled", "IoU, pooled")
        parts += [JOINT_WORDS, markdown_table(Table(header, rows, words=2))]
    return parts
