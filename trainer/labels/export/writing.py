"""Writing a revision in a layout by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from models_store.errors import BadInputError, UnknownNameError
from models_store.files import folder_aside, sync_folder
from trainer.labels.blobs import BlobStore
from trainer.labels.database import translated
from trainer.labels.export import class_folders, class_index, coco, plain, tasks
from trainer.labels.revisions import manifest
from trainer.labels.rows import Row
from trainer.labels.store import LabelStore

Losses = Callable[[Sequence[Row]], list[str]]
Write = Callable[[BlobStore, Sequence[Row], Path], None]
Writers = Mapping[str, tuple[Losses, Write]]
WRITERS: Writers = {
    "tasks": (tasks.losses, tasks.write),
    "coco": (coco.losses, coco.write),
    "class-folders": (class_folders.losses, class_folders.write),
    "class-index": (class_index.losses, class_index.write),
    "plain": (plain.losses, plain.write),
}


def export(
    store: LabelStore,
    digest: str,
    format: str,
    target: Path,
    *,
    lossy: bool = False,
    writers: Writers = WRITERS,
) -> list[str]:
    """Write a revision to a new folder, whole or not at all.

    Args:
        store: The store.
        digest: The revision's.
        format: One of the writers'.
        target: A folder that is not there yet.
        lossy: Whether what the format cannot hold may be left out.
        writers: For each format, what it cannot hold and how it is written.

    Returns:
        What was left out, a line each.

    Raises:
        UnknownNameError: There is no such format.
        UnknownLabelsError, DamagedError: The revision, or a file of it, is not there or damaged.
        BadInputError: The target is there, or the format cannot hold everything.
        StoreFullError: The disk is full; nothing is left.
    """
    if format not in writers:
        raise UnknownNameError(f"no format {format!r}; accepted are {', '.join(writers)}")
    if target.exists():
        raise BadInputError(f"{target} is there already; name a folder that is not")
    losses, write = writers[format]
    rows = manifest(store, digest)
    lost = losses(rows)
    if lost and not lossy:
        raise BadInputError(
            f"{format} cannot hold everything: {'; '.join(lost)}. The format 'tasks' can, or accept the loss"
        )
    with translated():
        target.parent.mkdir(parents=True, exist_ok=True)
        with folder_aside(target.parent) as aside:
            write(store.blobs, rows, aside)
            os.rename(aside, target)
        sync_folder(target.parent)
    return lost
