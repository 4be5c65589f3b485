"""A ZIP archive of labelled images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from models_store.errors import BadInputError
from server.inputs import ImageLimits
from server.intake.dicom_archive import dicom_files, read_dicom_folder
from server.intake.pseudonyms import open_pseudonyms
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
    keys: Path,
    limits: IntakeLimits,
    image_limits: ImageLimits,
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
        keys: Folder of the key of pseudonyms, for DICOM.
        limits: What it may hold.
        image_limits: What one DICOM image may be.
        phrase: One phrase for all images.
        group: A group that all images belong to.
        format: The name of the layout; None takes the one it looks like.
        progress: Told how far it is.

    Raises:
        RefusedUploadError: Something cannot be right; every fault is listed.
        StoreFullError: The disk is full.
    """
    with translated(), scratch_folder(incoming) as folder:
        unpacked, waiting = folder / "unpacked", folder / "waiting"
        unpacked.mkdir()
        waiting.mkdir()
        left_out = unpack(archive, unpacked, limits, progress=progress)
        if dicom_files(unpacked):
            if phrase or format:
                raise BadInputError("leave phrase and format out: DICOM Segmentations say what they show")
            batch = read_dicom_folder(
                unpacked,
                told,
                scratch=waiting,
                pseudonyms=open_pseudonyms(keys),
                limits=image_limits,
                group=group or None,
                progress=progress,
            )
        else:
            batch = read_folder(
                unpacked,
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
