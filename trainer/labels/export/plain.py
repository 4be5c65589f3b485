"""Plain folders of images and masks of the same names, for one thing that is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from models_store.errors import BadInputError
from models_store.files import write_file
from trainer.labels.blobs import BlobStore
from trainer.labels.rows import Row, file_names, label_of, only_phrase, place

PHRASE_FILE = "phrase.txt"


def losses(rows: Sequence[Row]) -> list[str]:
    """Ways of asking; the one phrase is noted beside the folders, where no reader looks."""
    return only_phrase(rows)


def write(blobs: BlobStore, rows: Sequence[Row], folder: Path) -> None:
    """``images/<split>/NAME``, ``masks/<split>/NAME.png`` and ``phrase.txt``.

    Raises:
        BadInputError: There are several things that are asked for.
    """
    labels = sorted({label_of(row) for row in rows})
    if len(labels) != 1:
        raise BadInputError(
            f"plain folders hold masks of one thing, and here are {len(labels)}; use tasks or coco"
        )
    names = file_names(rows)
    for row in rows:
        name = names[row["pixels"]]
        place(blobs, row["picture"], folder / "images" / row["split"] / name)
        place(blobs, row["mask"], folder / "masks" / row["split"] / f"{Path(name).stem}.png")
    write_file(folder / PHRASE_FILE, f"{labels[0]}\n".encode())
