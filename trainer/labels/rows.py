"""The rows of a revision's manifest, and the names of their files in a folder."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models_store.errors import DamagedError
from trainer.labels.blobs import BlobStore

Row = dict[str, Any]
"""One accepted annotation; its keys are those of ``revisions.entry``."""

# Not hidden, no folders, nothing a shell, a page or another file system takes amiss.
SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_. -]{0,99}")


def file_names(rows: Sequence[Row]) -> dict[str, str]:
    """A file name for each image of some rows, by the digest of its pixels.

    An image keeps the name it came with where that is harmless and no other image's, whatever the
    case of its letters; else its name is made harmless and its own.
    """
    images = {row["pixels"]: row for row in rows}
    taken: dict[str, int] = {}
    for row in images.values():
        stem = Path(row["image"]).stem.lower()
        taken[stem] = taken.get(stem, 0) + 1
    names = {}
    for pixels, row in images.items():
        own = row["image"]
        fits = SAFE.fullmatch(own) and own.endswith(row["suffix"]) and taken[Path(own).stem.lower()] == 1
        names[pixels] = own if fits else f"{readable(own)}-{pixels[:12]}{row['suffix']}"
    return names


def readable(name: str) -> str:
    """A name without folders, suffix and whatever a file system or a page might take amiss."""
    return re.sub(r"[^A-Za-z0-9_]+", "_", Path(name).stem)[:60].strip("_") or "image"


def label_of(row: Row) -> str:
    """What a row marks, in one text: its class, or the phrase it is asked for by."""
    if row["class"] is not None:
        return str(row["class"])
    text = row["prompts"]["p1"]
    return str(text if isinstance(text, str) else text[0])


def read_mask(blobs: BlobStore, row: Row) -> NDArray[np.bool_]:
    """The mask [H, W] of a row.

    Raises:
        DamagedError: It does not read.
    """
    pixels = cv2.imdecode(np.frombuffer(blobs.read(row["mask"]), np.uint8), cv2.IMREAD_GRAYSCALE)
    if pixels is None:
        raise DamagedError(f"the kept mask {row['mask']} does not read")
    return np.asarray(pixels) > 0


def place(blobs: BlobStore, digest: str, path: Path) -> None:
    """Put a kept file under a name: a link where the disk allows it, else a copy."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    source = blobs.path(digest)
    try:
        os.link(source, path)
    except OSError:
        shutil.copyfile(source, path)


def only_phrase(rows: Iterable[Row]) -> list[str]:
    """What is lost where only the label of a row is kept: other ways of asking, and groups."""
    rows = list(rows)
    others = sum(list(row["prompts"].values()) not in ([label_of(row)], ["", label_of(row)]) for row in rows)
    groups = {row["group"] for row in rows if row["group"] is not None}
    return ([f"other phrases of {others} rows"] if others else []) + (
        [f"which images belong together ({len(groups)} groups)"] if groups else []
    )


def empty_rows(rows: Iterable[Row]) -> list[str]:
    """What is lost where an empty mask cannot be said."""
    count = sum(row["empty"] for row in rows)
    return [f"{count} empty masks"] if count else []
