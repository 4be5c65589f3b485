"""What the readers of layouts share."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models_store.errors import BadInputError
from trainer.data.items import LabelledImage
from trainer.data.pictures import pictures_in

SPLIT_FOLDERS = {
    "train": ("train", "training"),
    "val": ("val", "validation", "valid"),
    "test": ("test", "testing"),
}
IMAGE_FOLDERS = ("images", "image", "imgs")
MASK_FOLDERS = ("masks", "mask", "annotations", "labels")


@dataclass
class Found:
    """What reading turned up beside items: faults, which refuse the data, and remarks, which do not."""

    faults: list[str]
    remarks: list[str]


@dataclass(frozen=True)
class Layout:
    """One way for labelled images to lie in a folder.

    Attributes:
        name: What users call it.
        looks: How it looks, for messages.
        recognises: Whether a folder looks like it.
        splits: The splits a folder has.
        read: The items of one of them.
        draws: Whether a folder has no splits of its own, so that they are drawn on reading.
    """

    name: str
    looks: str
    recognises: Callable[[Path], bool]
    splits: Callable[[Path], list[str]]
    read: Callable[[Path, str, Found], list[LabelledImage]]
    draws: Callable[[Path], bool] = lambda _folder: False


@dataclass(frozen=True)
class Pair:
    """An image and its mask file, and the group that an annotation names."""

    name: str
    image: Path
    mask: Path
    group: str | None = None


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        BadInputError: It is not JSON in UTF-8.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadInputError(f"{path} is not valid JSON: {error}") from error


def first_character(path: Path) -> str:
    """The first character of a text file that is not white space: ``[`` or ``{`` of JSON files."""
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.read(1000).lstrip()[:1]


def inside(folder: Path, name: str) -> Path | None:
    """The path of a name from an annotation, or None where it points out of the folder."""
    path = folder / name
    return path if path.resolve().is_relative_to(folder.resolve()) else None


def split_folder(parent: Path, split: str) -> Path | None:
    """The sub-folder of a split, by any of its usual names."""
    found = [parent / name for name in SPLIT_FOLDERS.get(split, (split,)) if (parent / name).is_dir()]
    return found[0] if found else None


def splits_under(parent: Path) -> list[str]:
    """The splits that have a sub-folder."""
    return [split for split in SPLIT_FOLDERS if split_folder(parent, split) is not None]


def first_folder(parent: Path, names: Iterable[str]) -> Path | None:
    """The first of some sub-folders that is there."""
    return next((parent / name for name in names if (parent / name).is_dir()), None)


def by_stem(folder: Path, found: Found) -> dict[str, Path]:
    """Image files by their path without suffix; two files of one stem are a fault."""
    stems: dict[str, Path] = {}
    for path in pictures_in(folder):
        stem = path.relative_to(folder).with_suffix("").as_posix()
        if stem in stems:
            found.faults.append(f"{path}: {stems[stem].name} beside it has the same name")
        else:
            stems[stem] = path
    return stems
