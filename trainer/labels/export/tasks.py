"""The benchmark's JSON task format, which holds everything."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from models_store.files import write_file
from trainer.labels.blobs import BlobStore
from trainer.labels.rows import Row, file_names, place


def losses(_rows: Sequence[Row]) -> list[str]:
    """Nothing is lost."""
    return []


def write(blobs: BlobStore, rows: Sequence[Row], folder: Path) -> None:
    """Images, masks by digest, and ``anns/<split>.json`` of each split that has rows."""
    names = file_names(rows)
    splits: dict[str, list[Row]] = {}
    for row in rows:
        image, mask = names[row["pixels"]], f"{row['mask'][:32]}.png"
        place(blobs, row["picture"], folder / "images" / image)
        place(blobs, row["mask"], folder / "masks" / mask)
        entry = {"img_name": image, "mask_name": mask, "prompts": row["prompts"]}
        for key in ("class", "group"):
            if row[key] is not None:
                entry[key] = row[key]
        splits.setdefault(row["split"], []).append(entry)
    (folder / "anns").mkdir()
    for split, entries in splits.items():
        write_file(folder / "anns" / f"{split}.json", json.dumps(entries, indent=1).encode())
