"""Datasets in folders: which layout a folder has, and the items of its splits.

The layouts are in :mod:`trainer.data.formats`; :func:`trainer.data.dataset.open_dataset` also
checks what it reads.
"""

from __future__ import annotations

from pathlib import Path

from models_store.errors import UnknownNameError
from trainer.data.faults import UnusableDataError
from trainer.data.formats.class_folders import CLASS_FOLDERS
from trainer.data.formats.class_index import CLASS_INDEX
from trainer.data.formats.coco import COCO
from trainer.data.formats.layout import Found, Layout
from trainer.data.formats.plain import PLAIN
from trainer.data.formats.tasks import TASKS
from trainer.data.items import LabelledImage

__all__ = ["LAYOUTS", "LabelledImage", "choose_layout", "read_split"]

LAYOUTS = {layout.name: layout for layout in (CLASS_INDEX, TASKS, COCO, CLASS_FOLDERS, PLAIN)}
"""By name, in the order they are tried in: the more particular first."""


def choose_layout(folder: Path, name: str | None = None) -> Layout:
    """The layout of a dataset folder: the one named, or the first it looks like.

    Raises:
        UnknownNameError: There is no such folder or layout, or the folder looks like none.
    """
    if not folder.is_dir():
        raise UnknownNameError(f"no dataset folder at {folder}")
    if name is None:
        found = next((layout for layout in LAYOUTS.values() if layout.recognises(folder)), None)
        if found is None:
            accepted = "".join(f"\n  {layout.name}: {layout.looks}" for layout in LAYOUTS.values())
            raise UnknownNameError(f"{folder} holds labelled images in none of the accepted ways:{accepted}")
        return found
    if name not in LAYOUTS:
        raise UnknownNameError(f"no dataset format {name!r}; accepted are {', '.join(LAYOUTS)}")
    if not LAYOUTS[name].recognises(folder):
        raise UnknownNameError(f"{folder} does not look like {name!r}: {LAYOUTS[name].looks}")
    return LAYOUTS[name]


def read_split(folder: Path, split: str, *, format: str | None = None) -> list[LabelledImage]:
    """Read one split of a dataset folder, checking every entry before returning any.

    Args:
        folder: The dataset's folder.
        split: ``train``, ``val`` or ``test``.
        format: The name of its layout; default the one it looks like.

    Raises:
        UnknownNameError: The folder or the split is not there.
        BadInputError: The annotations are malformed or name files that are missing; the
            message lists them.
    """
    layout = choose_layout(folder, format)
    have = layout.splits(folder)
    if split not in have:
        raise UnknownNameError(f"{folder} has no split {split!r}; it has {', '.join(have) or 'none'}")
    found = Found([], [])
    items = layout.read(folder, split, found)
    if found.faults:
        raise UnusableDataError(f"split {split!r} of {folder} has {len(found.faults)} faults", found.faults)
    return items
