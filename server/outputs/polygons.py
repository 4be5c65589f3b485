"""Masks as polygons that run along the edges of pixels.

A pixel (x, y) is the square from (x, y) to (x + 1, y + 1), so coordinates are half-open: a mask of the
one pixel (0, 0) is the square of corners 0 and 1, and areas of polygons are counts of pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.int64]
# Directions a boundary runs in, each the one before it turned right (y grows downwards).
RIGHT, DOWN, LEFT, UP = range(4)


@dataclass(frozen=True)
class Polygon:
    """One connected part of a mask; pixels that touch at a corner only are not connected.

    Attributes:
        exterior: [K, 2] corners x, y in order, clockwise as seen; the last is followed by the first.
        holes: [K, 2] each, anticlockwise.
    """

    exterior: Points
    holes: tuple[Points, ...]


def polygons_of(mask: NDArray[np.bool_]) -> list[Polygon]:
    """The parts of a mask [H, W], in the order of their uppermost, then leftmost pixels."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return []
    top, left = int(rows[0]), int(columns[0])
    # Most of a large image is not near the mask.
    near = mask[top : int(rows[-1]) + 1, left : int(columns[-1]) + 1]
    _, parts = cv2.connectedComponents(near.astype(np.uint8), connectivity=4)
    exteriors: dict[int, Points] = {}
    holes: dict[int, list[Points]] = {}
    for corners in _rings(near):
        part = int(parts[_pixel_beside(corners)])
        ring = corners + np.array((left, top))
        if signed_area(ring) > 0:
            exteriors[part] = ring
        else:
            holes.setdefault(part, []).append(ring)
    return [Polygon(ring, tuple(holes.get(part, ()))) for part, ring in exteriors.items()]


def signed_area(ring: Points) -> int:
    """Pixels inside a ring of corners [K, 2]; negative where it runs anticlockwise."""
    x, y = ring[:, 0], ring[:, 1]
    return int((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()) // 2


def _pixel_beside(ring: Points) -> tuple[int, int]:
    """Row and column of the pixel of the mask beside a ring's first edge, which runs right."""
    return int(ring[0, 1]), int(ring[0, 0])


def _rings(mask: NDArray[np.bool_]) -> list[Points]:
    """Boundaries with the mask at their right hand, each beginning with an edge to the right."""
    starts, ends, directions = _edges(mask)
    following = _following(starts, ends, directions, width=mask.shape[1]).tolist()
    taken = bytearray(len(following))
    rings = []
    # Every ring has an edge to the right; the edges are in the order of rows, then columns.
    for first in np.flatnonzero(directions == RIGHT).tolist():
        if taken[first]:
            continue
        ring, edge = [first], following[first]
        while edge != first:
            taken[edge] = 1
            ring.append(edge)
            edge = following[edge]
        rings.append(starts[ring])
    return rings


def _edges(mask: NDArray[np.bool_]) -> tuple[Points, Points, NDArray[np.int64]]:
    """Straight stretches of boundary: where they start [E, 2] and end [E, 2], and their directions [E]."""
    padded = np.pad(mask.astype(np.int8), 1)
    # Between rows: 1 where the mask begins below the line (run right), -1 where it ends (run left).
    lines, begin, end, sign = _runs(np.diff(padded, axis=0)[:, 1:-1])
    low, high = np.stack([begin, lines], axis=1), np.stack([end, lines], axis=1)
    across = _directed(low, high, sign > 0, RIGHT, LEFT)
    # Between columns: 1 where the mask begins right of the line (run up), -1 where it ends (run down).
    lines, begin, end, sign = _runs(np.diff(padded, axis=1)[1:-1].T)
    low, high = np.stack([lines, begin], axis=1), np.stack([lines, end], axis=1)
    along = _directed(low, high, sign < 0, DOWN, UP)
    starts, ends, directions = (np.concatenate(pair) for pair in zip(across, along, strict=True))
    return starts, ends, directions


def _runs(steps: NDArray[np.int8]) -> tuple[Points, Points, Points, Points]:
    """Runs of equal values other than 0 in each row: row, begin, end (half-open) and value."""
    padded = np.pad(steps, ((0, 0), (1, 1)))
    changes = padded[:, 1:] != padded[:, :-1]
    begins = changes & (padded[:, 1:] != 0)
    finishes = changes & (padded[:, :-1] != 0)
    rows, begin = np.nonzero(begins)
    _, end = np.nonzero(finishes)
    return rows, begin, end, steps[rows, begin].astype(np.int64)


def _directed(
    low: Points, high: Points, forward: NDArray[np.bool_], ahead: int, back: int
) -> tuple[Points, Points, NDArray[np.int64]]:
    chosen = forward[:, None]
    directions = np.where(forward, ahead, back)
    return np.where(chosen, low, high), np.where(chosen, high, low), directions


def _following(starts: Points, ends: Points, directions: NDArray[np.int64], *, width: int) -> Points:
    """Which edge follows each.

    Where two pixels touch at a corner, two edges start there; turning right stays with the pixel
    at hand, so that the two are not connected.
    """

    def key(points: Points, turned: NDArray[np.int64]) -> NDArray[np.int64]:
        return (points[:, 1] * (width + 1) + points[:, 0]) * 4 + turned

    keys = key(starts, directions)
    order = np.argsort(keys)
    known = keys[order]

    def find(wanted: NDArray[np.int64]) -> tuple[Points, NDArray[np.bool_]]:
        at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
        return order[at], known[at] == wanted

    right, there = find(key(ends, (directions + 1) % 4))
    left, _ = find(key(ends, (directions + 3) % 4))
    return np.where(there, right, left)
