"""Which images of a folder belong together: ``group`` in its annotations, or ``groups.csv``.

``groups.csv`` has a line ``image,group`` and then one for each image: its path in the folder or
below ``images/``, its file name, or its name without suffix. An entry of the benchmark's JSON or
an image of COCO's may name its ``group`` instead.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from models_store.errors import BadInputError
from trainer.data.items import LabelledImage

GROUPS_FILE = "groups.csv"
COLUMNS = ["image", "group"]
LONGEST_GROUP = 190
_READABLE = re.compile(r"[^\x00-\x1f\x7f]+")


def check_group(group: str | None) -> None:
    """Raise BadInputError unless a group's name can be recorded."""
    if group is not None and not (_READABLE.fullmatch(group) and len(group) <= LONGEST_GROUP):
        raise BadInputError(
            f"group {group[:80]!r} must be of 1 to {LONGEST_GROUP} characters without control characters"
        )


def group_of_entry(name: str, entry: dict[str, Any]) -> str | None:
    """The group that an annotation names for an image.

    Raises:
        BadInputError: It is no text, or cannot be recorded.
    """
    group = entry.get("group")
    if group is not None and not isinstance(group, str):
        raise BadInputError(f"the group of {name} must be a text")
    check_group(group)
    return group


def groups_of(folder: Path, said: Iterable[tuple[Path, str | None]], faults: list[str]) -> dict[Path, str]:
    """The group of each image that has one.

    Args:
        folder: The dataset's folder.
        said: Its images, with what their annotations say; an image may come several times.
        faults: Told what is wrong, a line each.
    """
    groups: dict[Path, str] = {}
    by_name: dict[str, set[Path]] = defaultdict(set)
    table = _table(folder, faults)
    for image, group in said:
        for name in _names(image.relative_to(folder)) if table else ():
            by_name[name].add(image)
        if group is not None and groups.setdefault(image, group) != group:
            faults.append(f"{image}: {_elsewhere(group, groups[image])}")
    for name, group in table:
        try:
            image = _named(name, by_name.get(name, set()))
            check_group(group)
            if groups.setdefault(image, group) != group:
                raise BadInputError(f"{name} {_elsewhere(group, groups[image])}")
        except BadInputError as error:
            faults.append(f"{GROUPS_FILE}: {error}")
    return groups


def groups_on_several_sides(splits: Mapping[str, Iterable[LabelledImage]]) -> list[str]:
    """A warning where images of one group are in several splits; empty where there are none.

    Args:
        splits: The rows of each.
    """
    of: dict[str, set[str]] = defaultdict(set)
    for split, items in splits.items():
        for item in items:
            if item.group is not None:
                of[item.group].add(split)
    parted = sorted(group for group, sides in of.items() if len(sides) > 1)
    if not parted:
        return []
    return [
        f"{len(parted)} of {len(of)} groups have images in several splits (such as {parted[0]!r}), so "
        "figures may be better than on patients that are new: put all images of a group into one split"
    ]


def _named(name: str, found: set[Path]) -> Path:
    if len(found) != 1:
        raise BadInputError(f"{name} is {'more than one' if found else 'none'} of the labelled images")
    return next(iter(found))


def _elsewhere(group: str, other: str) -> str:
    return f"is in group {group[:80]!r}, and in {other!r} elsewhere"


def _names(path: Path) -> set[str]:
    """What an image may be called."""
    inner = PurePosixPath(*path.parts[1:]) if len(path.parts) > 1 else PurePosixPath(path)
    return {path.as_posix(), str(inner), str(inner.with_suffix("")), path.name, path.stem}


def _table(folder: Path, faults: list[str]) -> list[tuple[str, str]]:
    """Names of images and groups, as ``groups.csv`` has them."""
    path = folder / GROUPS_FILE
    if not path.is_file():
        return []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file, strict=True))
    except (ValueError, csv.Error) as error:
        faults.append(f"{GROUPS_FILE}: does not read as a table: {error}")
        return []
    rows = [[cell.strip() for cell in row] for row in rows if any(cell.strip() for cell in row)]
    if not rows or rows[0] != COLUMNS or any(len(row) != len(COLUMNS) for row in rows):
        faults.append(f"{GROUPS_FILE}: must have the columns image,group, named in its first line")
        return []
    return [(name, group) for name, group in rows[1:]]
