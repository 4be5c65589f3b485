"""Several DICOM files as the slices of one series, in the order in which they lie in the patient."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError

from models_store.errors import BadInputError
from server.errors import UnreadableImageError
from server.images.decoded import DECODER_ERRORS, first_line
from server.images.dicom import looks_like_dicom

# Directions of one series agree within what a header's digits carry.
DIRECTION_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Placement:
    """Where a slice lies in the patient, as DICOM says: millimetres towards left, posterior and head.

    Attributes:
        position: Centre of the first pixel (ImagePositionPatient).
        across: Unit vector along which the column index grows.
        down: Unit vector along which the row index grows.
    """

    position: tuple[float, float, float]
    across: tuple[float, float, float]
    down: tuple[float, float, float]

    @property
    def normal(self) -> NDArray[np.float64]:
        """Unit vector [3] across the slices."""
        return np.cross(self.across, self.down)

    @property
    def depth(self) -> float:
        """Millimetres along the normal."""
        return float(self.normal @ np.asarray(self.position))


@dataclass(frozen=True)
class Slice:
    """One file of a series.

    Attributes:
        index: Which of the files it is.
        placement: Where it lies, if the file says.
    """

    index: int
    placement: Placement | None


def order_series(contents: Sequence[bytes]) -> list[Slice]:
    """Order files of one series by their position in the patient, else by InstanceNumber.

    Args:
        contents: The files; single-frame DICOM.

    Returns:
        The slices, along the normal of the image plane where all files say where they lie.

    Raises:
        UnreadableImageError: A file is not DICOM, or its header is damaged.
        BadInputError: The files are of several series, two say that they lie at the same place, or
            nothing tells their order.
    """
    headers = [_header(content, number) for number, content in enumerate(contents, start=1)]
    if len({str(header.get("SeriesInstanceUID", "")) for header in headers}) > 1:
        raise BadInputError(
            "the files are of several series (SeriesInstanceUID); send one per call, or leave series out"
        )
    placements = [placement_of(header) for header in headers]
    known = [each for each in placements if each is not None]
    if len(known) == len(placements) and _parallel(known):
        keys: list[float] = [each.depth for each in known]
        by = "position (ImagePositionPatient)"
    else:
        keys = [_instance(header, number) for number, header in enumerate(headers, start=1)]
        placements = [None] * len(headers)
        by = "InstanceNumber"
    order = sorted(range(len(keys)), key=lambda i: keys[i])
    for before, after in pairwise(order):
        if keys[before] == keys[after]:
            raise BadInputError(
                f"files {before + 1} and {after + 1} have the same {by}; a series has every slice once"
            )
    return [Slice(i, placements[i]) for i in order]


def placement_of(header: Dataset) -> Placement | None:
    """Where a single-frame file says that it lies; None where it does not, or what it says is no place."""
    position, directions = header.get("ImagePositionPatient"), header.get("ImageOrientationPatient")
    if position is None or directions is None:
        return None
    try:
        numbers = [float(value) for value in (*position, *directions)]
    except (TypeError, ValueError):
        return None
    if len(numbers) != 9 or not all(math.isfinite(value) for value in numbers):
        return None
    x, y, z, *rest = numbers
    across, down = np.array(rest[:3]), np.array(rest[3:])
    lengths = (np.linalg.norm(across), np.linalg.norm(down))
    if abs(lengths[0] - 1) > 0.01 or abs(lengths[1] - 1) > 0.01 or abs(across @ down) > 0.01:
        return None
    (a, b, c), (d, e, f) = (across / lengths[0]).tolist(), (down / lengths[1]).tolist()
    return Placement((x, y, z), (a, b, c), (d, e, f))


def _parallel(placements: Sequence[Placement]) -> bool:
    directions = np.array([(*each.across, *each.down) for each in placements])
    return bool((np.abs(directions - directions[0]) < DIRECTION_TOLERANCE).all())


def _instance(header: Dataset, number: int) -> float:
    value = header.get("InstanceNumber")
    if value is None:
        raise BadInputError(
            f"file {number} says neither where its slice lies in parallel to the others "
            "(ImagePositionPatient, ImageOrientationPatient) nor its InstanceNumber; leave series out to "
            "keep the order sent"
        )
    return float(value)


def _header(content: bytes, number: int) -> Dataset:
    if not looks_like_dicom(content):
        raise UnreadableImageError(f"file {number} is not DICOM; a series is of DICOM files")
    try:
        header = dcmread(BytesIO(content), force=True, stop_before_pixels=True)
        # Values are parsed when they are looked at.
        for name in (
            "SeriesInstanceUID",
            "InstanceNumber",
            "ImagePositionPatient",
            "ImageOrientationPatient",
        ):
            header.get(name)
    except (InvalidDicomError, *DECODER_ERRORS) as error:
        raise UnreadableImageError(
            f"file {number} begins like DICOM but its header cannot be read ({first_line(error)})"
        ) from error
    return header
