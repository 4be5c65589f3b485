"""COCO's object annotations, with packed run lengths."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models_store import rle
from models_store.files import write_file
from trainer.labels.blobs import BlobStore
from trainer.labels.rows import Row, empty_rows, file_names, label_of, only_phrase, place, read_mask


def losses(rows: Sequence[Row]) -> list[str]:
    """Empty masks, and phrases beside a category's name."""
    return empty_rows(rows) + only_phrase(rows)


def write(blobs: BlobStore, rows: Sequence[Row], folder: Path) -> None:
    """``images/<split>/`` and ``annotations/instances_<split>.json``."""
    names = file_names(rows)
    categories = {label: at for at, label in enumerate(sorted({label_of(row) for row in rows}), start=1)}
    (folder / "annotations").mkdir()
    for split in sorted({row["split"] for row in rows}):
        images: dict[str, dict[str, Any]] = {}
        annotations: list[dict[str, Any]] = []
        for row in (row for row in rows if row["split"] == split and not row["empty"]):
            mask = read_mask(blobs, row)
            height, width = mask.shape
            name = names[row["pixels"]]
            place(blobs, row["picture"], folder / "images" / split / name)
            image = {"id": len(images) + 1, "file_name": name, "width": width, "height": height}
            image = images.setdefault(row["pixels"], image)
            ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            box = [xs[0], ys[0], xs[-1] + 1 - xs[0], ys[-1] + 1 - ys[0]]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image["id"],
                    "category_id": categories[label_of(row)],
                    "segmentation": {"size": [height, width], "counts": rle.encode(mask)},
                    "area": int(mask.sum()),
                    "bbox": [int(value) for value in box],
                    "iscrowd": 0,
                }
            )
        listed = [{"id": at, "name": label} for label, at in categories.items()]
        content = {"images": list(images.values()), "annotations": annotations, "categories": listed}
        write_file(folder / "annotations" / f"instances_{split}.json", json.dumps(content).encode())
