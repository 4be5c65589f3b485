"""Datasets in the benchmark's folder layout.

    <folder>/images/*   <folder>/masks/*   <folder>/anns/{train,val,test}.json

An annotation file is a list of ``{img_name, mask_name, prompts: {p0: "", p1: "...", ...}}``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from models_store.errors import BadInputError, UnknownNameError

# Anti-aliased and JPEG masks are foreground above the middle.
MASK_THRESHOLD = 127


@dataclass(frozen=True)
class LabelledImage:
    """One image with its mask and phrases; pixels are read when asked for."""

    name: str
    image_path: Path
    mask_path: Path
    prompts: dict[str, str | list[str]]

    def image(self) -> NDArray[np.uint8]:
        """The image as RGB [H, W, 3] uint8."""
        return _read(self.image_path, "RGB")

    def mask(self) -> NDArray[np.bool_]:
        """The mask [H, W], true where the class is."""
        mask: NDArray[np.bool_] = _read(self.mask_path, "L") > MASK_THRESHOLD
        return mask

    def phrases(self, key: str) -> list[str]:
        """The texts under one prompt key such as ``p1``; a missing key is an error."""
        if key not in self.prompts:
            raise UnknownNameError(
                f"{self.name} has no prompt {key!r}; it has {', '.join(sorted(self.prompts)) or 'none'}"
            )
        texts = self.prompts[key]
        return [texts] if isinstance(texts, str) else list(texts)


def _read(path: Path, mode: str) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as opened:
            return np.array(opened.convert(mode), dtype=np.uint8)
    except (OSError, UnidentifiedImageError) as error:
        raise BadInputError(f"{path} cannot be read as an image: {error}") from error


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
    return LabelledImage(entry["img_name"], image, mask, dict(entry.get("prompts") or {}))
