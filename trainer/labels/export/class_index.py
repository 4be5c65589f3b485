"""Masks whose pixels are class indices, 0 for background."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from models_store.errors import BadInputError
from models_store.files import write_file
from trainer.labels.blobs import BlobStore
from trainer.labels.rows import Row, empty_rows, file_names, label_of, only_phrase, place, read_mask

MOST_CLASSES = 255


def losses(rows: Sequence[Row]) -> list[str]:
    """Empty masks, and phrases beside a class's name; that masks overlap is found when they are drawn."""
    return empty_rows(rows) + only_phrase(rows)


def write(blobs: BlobStore, rows: Sequence[Row], folder: Path) -> None:
    """``classes.json``, ``images/<split>/NAME`` and ``masks/<split>/NAME.png``.

    Raises:
        BadInputError: Masks of one image overlap, or there are more than 255 classes.
    """
    names = file_names(rows)
    labels = sorted({label_of(row) for row in rows})
    if len(labels) > MOST_CLASSES:
        raise BadInputError(f"{len(labels)} classes do not fit into 8 bits; at most {MOST_CLASSES} do")
    index = {label: at for at, label in enumerate(labels, start=1)}
    of_image: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if not row["empty"]:
            of_image[row["pixels"]].append(row)
    for pixels, mine in of_image.items():
        split, name = mine[0]["split"], names[pixels]
        place(blobs, mine[0]["picture"], folder / "images" / split / name)
        drawn = np.zeros(read_mask(blobs, mine[0]).shape, np.uint8)
        for row in mine:
            mask = read_mask(blobs, row)
            if (drawn[mask] != 0).any():
                raise BadInputError(
                    f"{name}: the mask of {label_of(row)!r} overlaps another, and a pixel has one index; "
                    "use tasks or coco"
                )
            drawn[mask] = index[label_of(row)]
        path = folder / "masks" / split / f"{Path(name).stem}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, cv2.imencode(".png", drawn)[1].tobytes())
    table = {"0": "background"} | {str(at): label for label, at in index.items()}
    write_file(folder / "classes.json", json.dumps(table, indent=1).encode())
