"""One folder of masks per class, as the benchmark stores Pascal VOC and Cityscapes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trainer.labels.blobs import BlobStore
from trainer.labels.rows import SAFE, Row, file_names, label_of, only_phrase, place


def losses(rows: Sequence[Row]) -> list[str]:
    """Phrases beside a class's name, and names no folder can have."""
    bad = sorted({label_of(row) for row in rows if not SAFE.fullmatch(label_of(row))})
    named = [f"what is called {', '.join(map(repr, bad[:5]))}, which is no folder's name"] if bad else []
    return only_phrase(rows) + named


def write(blobs: BlobStore, rows: Sequence[Row], folder: Path) -> None:
    """``images/<split>/NAME`` and ``masks/<split>/CLASS/NAME.png``."""
    names = file_names(rows)
    for row in (row for row in rows if SAFE.fullmatch(label_of(row))):
        name = names[row["pixels"]]
        place(blobs, row["picture"], folder / "images" / row["split"] / name)
        mask = folder / "masks" / row["split"] / label_of(row) / f"{Path(name).stem}.png"
        place(blobs, row["mask"], mask)
