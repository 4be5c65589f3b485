"""Which images of a folder belong together: ``groups.csv``, or ``group`` in its annotations.

``groups.csv`` has a line ``image,group`` and then one for each image: its path in the folder or
below ``images/``, its file name, or its name without suffix. An entry of the benchmark's JSON or
an image of COCO's may name its ``group`` instead.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from models_store.errors import BadInputError
from trainer.data.formats import coco, tasks
from trainer.data.formats.layout import Found, read_json
from trainer.intake.batch import check_group
from trainer.intake.faults import FileFault

GROUPS_FILE = "groups.csv"
COLUMNS = ["image", "group"]


def read_groups(folder: Path, images: Iterable[Path]) -> tuple[dict[Path, str], list[FileFault]]:
    """The group of each image that has one, and what is wrong with what says so.

    Args:
        folder: The dataset's folder.
        images: Its images.
    """
    by_name: dict[str, set[Path]] = defaultdict(set)
    for image in images:
        for name in _names(image.relative_to(folder)):
            by_name[name].add(image)
    groups: dict[Path, str] = {}
    faults: list[FileFault] = []
    for where, name, group in [*_of_table(folder, faults), *_of_tasks(folder), *_of_coco(folder)]:
        found = by_name.get(name, set())
        try:
            _check(name, group, found)
            (image,) = found
            if groups.setdefault(image, group) != group:
                raise BadInputError(f"{name} is in group {group[:80]!r}, and in {groups[image]!r} elsewhere")
        except BadInputError as error:
            faults.append(FileFault(where, str(error)))
    return groups, faults


def _check(name: str, group: Any, found: set[Path]) -> None:
    if not isinstance(group, str):
        raise BadInputError(f"the group of {name} must be a text")
    check_group(group)
    if len(found) != 1:
        raise BadInputError(f"{name} is {'none' if not found else 'more than one'} of the labelled images")


def _names(path: Path) -> set[str]:
    """What an image may be called."""
    inner = PurePosixPath(*path.parts[1:]) if len(path.parts) > 1 else PurePosixPath(path)
    return {path.as_posix(), str(inner), str(inner.with_suffix("")), path.name, path.stem}


Said = tuple[str, str, Any]
"""The file that says it, the image's name, its group."""


def _of_table(folder: Path, faults: list[FileFault]) -> list[Said]:
    path = folder / GROUPS_FILE
    if not path.is_file():
        return []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file, strict=True))
    except (ValueError, csv.Error) as error:
        faults.append(FileFault(GROUPS_FILE, f"does not read as a table: {error}"))
        return []
    rows = [[cell.strip() for cell in row] for row in rows if any(cell.strip() for cell in row)]
    if not rows or rows[0] != COLUMNS or any(len(row) != len(COLUMNS) for row in rows):
        faults.append(FileFault(GROUPS_FILE, "must have the columns image,group, named in its first line"))
        return []
    return [(GROUPS_FILE, name, group) for name, group in rows[1:]]


def _of_tasks(folder: Path) -> list[Said]:
    said = []
    for split, path in tasks.annotation_files(folder).items():
        where = path.relative_to(folder).as_posix()
        for pair, entry in tasks.annotated_pairs(folder, split, Found([], [])):
            if entry.get("group") is not None:
                said.append((where, pair.image.relative_to(folder).as_posix(), entry["group"]))
    return said


def _of_coco(folder: Path) -> list[Said]:
    said = []
    for path in coco.annotation_files(folder).values():
        content = read_json(path)
        entries = content.get("images", []) if isinstance(content, dict) else []
        for entry in entries if isinstance(entries, list) else []:
            if isinstance(entry, dict) and entry.get("group") is not None:
                name = str(PurePosixPath(str(entry.get("file_name", ""))))
                said.append((path.relative_to(folder).as_posix(), name, entry["group"]))
    return said
