"""The table of a benchmark as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from trainer.benchmark.compare import Content, kind_of
from trainer.benchmark.configurations import in_words
from trainer.benchmark.plan import Cell
from trainer.benchmark.store import FAILED

CSV_FIGURES = ("dice", "iou", "hd95")


def table_csv(contents: Sequence[tuple[Cell, Content | None]]) -> str:
    """One row per cell, finished or not, with every figure unrounded."""
    text = io.StringIO()
    columns = [f"{f}_{part}" for f in CSV_FIGURES for part in ("mean", "low", "high")]
    head = ["dataset", "base", "method", "kind", "status", "learnable", *columns, "pooled_iou"]
    head += ["hd95_undefined", "difference_mean", "difference_low", "difference_high", "spread_mean"]
    head += ["train_images", "select_images", "val_images", "val_rows", "epochs", "seconds", "seed", "chosen"]
    writer = csv.DictWriter(text, head, lineterminator="\n")
    writer.writeheader()
    for cell, content in contents:
        row: dict[str, Any] = {
            "dataset": cell.dataset,
            "base": cell.base,
            "method": cell.method,
            "kind": kind_of(cell.method),
            "status": "missing" if content is None else content["status"],
        }
        if content is not None and content["status"] != FAILED:
            row |= _csv_figures(content)
        writer.writerow(row)
    return text.getvalue()


def _csv_figures(content: Content) -> dict[str, Any]:
    figures, used = content["figures"], content["images_used"]
    row: dict[str, Any] = {
        f"{name}_{part}": (figures[name] or {}).get(part)
        for name in CSV_FIGURES
        for part in ("mean", "low", "high")
    }
    if content["difference"] is not None:
        row |= {f"difference_{part}": content["difference"]["dice"][part] for part in ("mean", "low", "high")}
    if content["sensitivity"] is not None:
        row["spread_mean"] = content["sensitivity"]["deviation"]["mean"]
    chosen = content["chosen"]
    return row | {
        "learnable": content["learnable"],
        "pooled_iou": figures["pooled_iou"],
        "hd95_undefined": figures["hd95_undefined"],
        "train_images": used["train"],
        "select_images": used["select"],
        "val_images": used["val"],
        "val_rows": used["val_rows"],
        "epochs": None if chosen is None else chosen["epochs"],
        "seconds": content["seconds"],
        "seed": content["seed"],
        "chosen": None if chosen is None else in_words(chosen["configuration"]),
    }
