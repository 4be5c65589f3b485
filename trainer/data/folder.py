"""Datasets in the benchmark's folder layout.

    <folder>/images/*   <folder>/masks/*   <folder>/anns/{train,val,test}.json

An annotation file is a list of ``{img_name, mask_name, prompts: {p0: "", p1: "...", ...}}``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from models_store.errors import BadInputError, UnknownNameError
from trainer.data.items import LabelledImage
from trainer.data.truths import MaskFile

__all__ = ["LabelledImage", "read_split"]


def read_split(folder: Path, split: str) -> list[LabelledImage]:
    """Read one split of a dataset folder, checking every entry before returning any.

    Args:
        folder: The dataset's folder.
        split: ``train``, ``val`` or ``test``.

    Raises:
        UnknownNameError: The folder or the split's file is not there.
        BadInputError: The annotation file is malformed or names files that are missing; the
            message lists them.
    """
    if not folder.is_dir():
        raise UnknownNameError(f"no dataset folder at {folder}")
    path = folder / "anns" / f"{split}.json"
    if not path.is_file():
        have = sorted(p.stem for p in (folder / "anns").glob("*.json"))
        raise UnknownNameError(f"{folder} has no split {split!r}; it has {', '.join(have) or 'none'}")
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadInputError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(entries, list) or not entries:
        raise BadInputError(f"{path} must hold a non-empty list of annotations")
    faults: list[str] = []
    items = [item for i, entry in enumerate(entries) if (item := _parse(folder, i, entry, faults))]
    if faults:
        shown = "\n  ".join(faults[:20])
        more = f"\n  and {len(faults) - 20} more" if len(faults) > 20 else ""
        raise BadInputError(f"{path} has {len(faults)} faults:\n  {shown}{more}")
    return items


def _parse(folder: Path, index: int, entry: Any, faults: list[str]) -> LabelledImage | None:
    if not isinstance(entry, dict) or not all(
        isinstance(entry.get(key), str) and entry[key] for key in ("img_name", "mask_name")
    ):
        faults.append(f"entry {index}: needs img_name and mask_name")
        return None
    image, mask = folder / "images" / entry["img_name"], folder / "masks" / entry["mask_name"]
    missing = [str(p.relative_to(folder)) for p in (image, mask) if not p.is_file()]
    if missing:
        faults.append(f"entry {index}: missing {', '.join(missing)}")
        return None
    return LabelledImage(entry["img_name"], image, MaskFile(mask), dict(entry.get("prompts") or {}))
