"""Masks whose pixels are class indices, for any number of classes.

    <folder>/classes.json    {"0": "sky", "1": "building", ..., "11": "unlabelled"}

beside images and masks in the layout of :mod:`trainer.data.formats.tasks` (``prompts`` is not
needed) or of :mod:`trainer.data.formats.plain`. A class called ``unlabelled``, ``unlabeled``,
``ignore``, ``ignored`` or ``void``, or null, is left out of loss and figures; one called
``background`` counts but is never asked for. Every index that occurs must be named, but for 255,
which by custom is where nobody labelled: it is left out, with a remark.

There is one item per image and class that is in it (the benchmark's binarised way), with the
class's name as the phrase, under ``p1``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models_store.errors import BadInputError
from trainer.data.formats.layout import Found, Layout, Pair, read_json
from trainer.data.formats.plain import draws as plain_draws
from trainer.data.formats.plain import plain_pairs
from trainer.data.formats.plain import splits as plain_splits
from trainer.data.formats.tasks import annotated_pairs, annotation_files
from trainer.data.items import LabelledImage
from trainer.data.truths import IndexFile, read_indices

CLASSES_FILE = "classes.json"
IGNORED = frozenset({"unlabelled", "unlabeled", "ignore", "ignored", "void"})
BACKGROUND = "background"
UNKNOWN_SHOWN = 5
VOID = 255
NAME_VOID = "as 'void' where nobody labelled"


@dataclass(frozen=True)
class ClassTable:
    """Names of the classes asked for by index, and the indices that are left out."""

    names: dict[int, str]
    ignored: frozenset[int]
    known: frozenset[int]


def read_classes(folder: Path) -> ClassTable:
    """Read ``classes.json``.

    Raises:
        BadInputError: It does not map whole numbers to different names.
    """
    path = folder / CLASSES_FILE
    raw = read_json(path)
    if isinstance(raw, list):
        raw = dict(enumerate(raw))
    try:
        table = {int(index): name for index, name in raw.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise BadInputError(f"{path} must map class indices to names") from error
    named = {index: name for index, name in table.items() if name is not None}
    if min(table, default=-1) < 0 or not all(isinstance(n, str) and n.strip() for n in named.values()):
        raise BadInputError(f"{path} must map indices from 0 on to names, or to null where nobody labelled")
    ignored = {index for index, name in table.items() if name is None or name.lower() in IGNORED}
    asked = {i: n for i, n in sorted(named.items()) if i not in ignored and n.lower() != BACKGROUND}
    if not asked or len(set(asked.values())) != len(asked):
        raise BadInputError(f"{path} must name at least one class, and no two alike")
    return ClassTable(asked, frozenset(ignored), frozenset(table))


def _pairs(folder: Path, split: str, found: Found) -> list[Pair]:
    if annotation_files(folder):
        return [pair for pair, _ in annotated_pairs(folder, split, found)]
    return plain_pairs(folder, split, found)


def read(folder: Path, split: str, found: Found) -> list[LabelledImage]:
    """One item per image and present class."""
    table = read_classes(folder)
    items: list[LabelledImage] = []
    without = void = 0
    for pair in _pairs(folder, split, found):
        try:
            present = set(np.flatnonzero(np.bincount(read_indices(pair.mask).ravel())).tolist())
        except BadInputError as error:
            found.faults.append(str(error))
            continue
        unnamed = present - table.known
        unknown = sorted(unnamed - {VOID})
        if unknown:
            shown = ", ".join(map(str, unknown[:UNKNOWN_SHOWN])) + (
                ", ..." if unknown[UNKNOWN_SHOWN:] else ""
            )
            found.faults.append(
                f"{pair.mask}: holds index {shown}, which {CLASSES_FILE} does not name: name it, {NAME_VOID}"
            )
            continue
        asked = [(index, name) for index, name in table.names.items() if index in present]
        if VOID in unnamed and not asked:
            # As a mask of 0 and 255 would be, of which 255 is all that is asked for.
            found.faults.append(
                f"{pair.mask}: holds no class, but index {VOID}, which {CLASSES_FILE} does not name: "
                f"name it, {NAME_VOID}"
            )
            continue
        without += not asked
        void += VOID in unnamed
        ignored = table.ignored | (unnamed & {VOID})
        items.extend(
            LabelledImage(
                f"{name}/{pair.name}",
                pair.image,
                IndexFile(pair.mask, index, ignored),
                {"p0": "", "p1": name},
                class_name=name,
                group=pair.group,
            )
            for index, name in asked
        )
    if void:
        found.remarks.append(
            f"{split}: {void} masks hold index {VOID}, which {CLASSES_FILE} does not name; it is taken for "
            "pixels nobody labelled"
        )
    if without:
        found.remarks.append(f"{split}: {without} images hold none of the classes and are not used")
    return items


CLASS_INDEX = Layout(
    "class-index",
    "classes.json beside images/ and masks/ of class indices",
    lambda folder: (folder / CLASSES_FILE).is_file(),
    lambda folder: list(annotation_files(folder)) or plain_splits(folder),
    read,
    lambda folder: not annotation_files(folder) and plain_draws(folder),
)
