"""A ZIP archive of labelled images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from trainer.intake.archive import Progress, no_progress, unpack
from trainer.intake.batch import Batch, Told
from trainer.intake.folder import read_folder
from trainer.intake.limits import IntakeLimits
from trainer.intake.scratch import scratch_folder
from trainer.labels.database import translated


@contextmanager
def taken_archive(
    archive: BinaryIO,
    told: Told,
    *,
    incoming: Path,
    limits: IntakeLimits,
    phrase: str | None = None,
    group: str | None = None,
    format: str | None = None,
    progress: Progress = no_progress,
) -> Iterator[Batch]:
    """What an archive holds, checked file by file, ready to be kept as long as the context is.

    Args:
        archive: The file.
        told: What is said of all annotations.
        incoming: Folder to unpack in.
        limits: What it may hold.
        phrase: One phrase for all images.
        group: A group that all images belong to.
        format: The name of the layout; None takes the one it looks like.
        progress: Told how far it is.

    Raises:
        RefusedUploadError: Something cannot be right; every fault is listed.
        StoreFullError: The disk is full.
    """
    with translated(), scratch_folder(incoming) as folder:
        left_out = unpack(archive, folder, limits, progress=progress)
        batch = read_folder(
            folder,
            told,
            max_pixels=limits.max_pixels,
            phrase=phrase or None,
            group=group or None,
            format=format or None,
            progress=progress,
        )
        if left_out:
            batch.remarks.append(f"{len(left_out)} files of file managers were left out")
        yield batch
