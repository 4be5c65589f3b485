"""What a look at a dataset shows, as JSON."""

from __future__ import annotations

from collections import Counter
from typing import Any

from trainer.data.dataset import Inspection
from trainer.data.leaks import emptiness_leak
from trainer.data.phrases import EMPTY_KEY, PhraseRule, natural_order

TEXTS_SHOWN = 3


def summary(inspection: Inspection) -> dict[str, Any]:
    """Format, splits, image sizes, phrases by key, classes, warnings and faults."""
    dataset = inspection.dataset
    return {
        "folder": dataset.folder.resolve().name,
        "format": dataset.format,
        "splits": {split: _split(inspection, split) for split in dataset.splits},
        "image_sizes": _sizes(inspection),
        "classes": _classes(inspection),
        "prompts": _prompts(inspection),
        "warnings": list(dataset.warnings),
        "faults": inspection.faults,
    }


def _split(inspection: Inspection, split: str) -> dict[str, int]:
    looked = inspection.facts[split]
    empty = [flag for _, facts in looked for flag in facts.empty]
    return {"images": len(looked), "rows": len(empty), "empty_masks": sum(flag is True for flag in empty)}


def _sizes(inspection: Inspection) -> dict[str, Any] | None:
    """Widths and heights; None where no image reads."""
    sizes = [f.size for looked in inspection.facts.values() for _, f in looked if f.size is not None]
    if not sizes:
        return None
    widths, heights = zip(*sizes, strict=True)
    return {
        "distinct": len(set(sizes)),
        "width": [min(widths), max(widths)],
        "height": [min(heights), max(heights)],
    }


def _classes(inspection: Inspection) -> dict[str, dict[str, int]]:
    """Rows of each class by split."""
    splits = inspection.dataset.splits
    counts = {split: Counter(item.class_name for item in items) for split, items in splits.items()}
    return {name: {split: counts[split][name] for split in splits} for name in inspection.dataset.classes}


def _prompts(inspection: Inspection) -> dict[str, dict[str, Any]]:
    """For each key but the empty one: how many texts it has, some of them, and what they give away."""
    items = [item for split in inspection.dataset.splits.values() for item in split]
    keys = sorted({key for item in items for key in item.prompts} - {EMPTY_KEY}, key=natural_order)
    shown = {}
    for key in keys:
        rows = inspection.rows(PhraseRule(key))
        texts = Counter(text for row in rows for text in row.texts)
        leak = emptiness_leak(rows)
        shown[key] = {
            "rows": len(rows),
            "texts": len(texts),
            "most_frequent": [text for text, _ in texts.most_common(TEXTS_SHOWN)],
            "empty_masks_told": 0 if leak is None else leak.told,
        }
    return shown
