"""Masks as a NIfTI volume."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from models_store.errors import BadInputError
from server.images.series import Placement
from server.outputs.cases import Case, Wish, Written

GZIP = "application/gzip"
# NIfTI's axes point right, anterior and up; DICOM's left, posterior and up.
FROM_DICOM = np.array([-1.0, -1.0, 1.0])
# Codes of the NIfTI header: what the coordinates refer to.
UNKNOWN, SCANNER = 0, 1
# Neighbouring slices whose distances differ by more than this share are no regular stack.
SPACING_TOLERANCE = 0.02
LEVEL = 3


def nifti(cases: Sequence[Case], wish: Wish) -> Written:
    """A ``.nii.gz`` of labels: 0 background, 1 the first phrase.

    The volume is [width, height, images] uint8: first axis along rows, second down them, third over
    the images in their order. Voxel sizes are in millimetres where all images tell the same
    spacing. Slices of a series that say where they lie get their place in the patient; else the
    header's code says that the coordinates refer to nothing.

    Raises:
        BadInputError: The images are of several sizes.
    """
    sizes = {(case.image.height, case.image.width) for case in cases}
    if len(sizes) > 1:
        listed = ", ".join(f"{width} x {height}" for height, width in sorted(sizes)[:5])
        raise BadInputError(
            f"output 'nifti' is one volume, but the images are of {len(sizes)} sizes ({listed}); send "
            "images of one size, or take another output"
        )
    volume = np.stack([_labels(case, wish).T for case in cases], axis=2)
    affine, code = _affine(cases)
    known = code == SCANNER or all(case.image.spacing is not None for case in cases)
    # The time in a gzip header would make two equal answers differ.
    content = gzip.compress(_file(volume, affine, code, "mm" if known else "unknown"), LEVEL, mtime=0)
    return Written(content, GZIP, ".nii.gz")


def _file(volume: NDArray[np.uint8], affine: NDArray[np.float64], code: int, unit: str) -> bytes:
    # nibabel has types, but not on these.
    image: Any = nibabel.Nifti1Image(volume, affine)  # type: ignore[no-untyped-call]
    image.set_sform(affine, code=code)
    image.set_qform(affine, code=code)
    image.header.set_xyzt_units(xyz=unit)
    content: bytes = image.to_bytes()
    return content


def _labels(case: Case, wish: Wish) -> NDArray[np.uint8]:
    if len(case.phrases) > 1:
        return case.labels(wish.threshold)
    mask, _ = next(case.masks(wish.threshold, wish.combine))
    return mask.astype(np.uint8)


def _affine(cases: Sequence[Case]) -> tuple[NDArray[np.float64], int]:
    """The affine [4, 4] from voxel indices to millimetres, and what it refers to."""
    spacings = {case.image.spacing for case in cases}
    (spacing,) = spacings if len(spacings) == 1 else (None,)
    placements = [case.placement for case in cases if case.placement is not None]
    if spacing is not None and len(placements) == len(cases):
        step = _step(placements)
        if step is not None:
            return _placed(placements[0], spacing, step), SCANNER
    down, across = spacing or (1.0, 1.0)
    return np.diag([across, down, 1.0, 1.0]), UNKNOWN


def _step(placements: Sequence[Placement]) -> NDArray[np.float64] | None:
    """From each slice to the next [3]; None where they are not evenly spaced."""
    if len(placements) == 1:
        return placements[0].normal
    steps = np.diff(np.array([each.position for each in placements]), axis=0)
    mean = steps.mean(axis=0)
    even = np.abs(steps - mean).max() <= SPACING_TOLERANCE * np.linalg.norm(mean)
    return mean if even else None


def _placed(first: Placement, spacing: tuple[float, float], step: NDArray[np.float64]) -> NDArray[np.float64]:
    down, across = spacing
    affine = np.eye(4)
    affine[:3, 0] = FROM_DICOM * np.array(first.across) * across
    affine[:3, 1] = FROM_DICOM * np.array(first.down) * down
    affine[:3, 2] = FROM_DICOM * step
    affine[:3, 3] = FROM_DICOM * np.array(first.position)
    return affine
