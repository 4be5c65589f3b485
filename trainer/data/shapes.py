"""Masks of COCO's segmentations: polygons, and run lengths plain or packed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.draw import polygon

from models_store import rle
from models_store.errors import BadInputError


def draw_shapes(segments: Sequence[Any], height: int, width: int) -> NDArray[np.bool_]:
    """The union [height, width] of segmentations.

    Raises:
        BadInputError: One is malformed or does not fill the image's size.
    """
    mask = np.zeros((height, width), np.bool_)
    for segment in segments:
        mask |= _draw(segment, height, width)
    return mask


def _draw(segment: Any, height: int, width: int) -> NDArray[np.bool_]:
    if isinstance(segment, dict):
        return _runs(segment, height, width)
    if not isinstance(segment, (list, tuple)) or not segment:
        raise BadInputError("a segmentation must be a list of polygons or a run-length object")
    mask = np.zeros((height, width), np.bool_)
    for points in segment:
        try:
            corners = np.asarray(points, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise BadInputError("a polygon must be a list of numbers x1, y1, x2, y2, ...") from error
        if corners.ndim != 1 or len(corners) < 6 or len(corners) % 2 or not np.isfinite(corners).all():
            raise BadInputError("a polygon must be a list of at least 6 numbers x1, y1, x2, y2, ...")
        # COCO's coordinates are of corners: the centre of the first pixel is (0.5, 0.5).
        columns, rows = corners[0::2] - 0.5, corners[1::2] - 0.5
        mask[polygon(rows, columns, shape=mask.shape)] = True
    return mask


def _runs(segment: dict[str, Any], height: int, width: int) -> NDArray[np.bool_]:
    if segment.get("size") != [height, width]:
        raise BadInputError(
            f"run lengths of size {segment.get('size')} do not fit an image of size [{height}, {width}]"
        )
    counts = segment.get("counts")
    if isinstance(counts, str):
        return rle.decode(counts, height, width)
    if not isinstance(counts, list) or not all(type(run) is int for run in counts):
        raise BadInputError("run lengths must be a string or a list of whole numbers")
    return rle.fill(counts, height, width)
