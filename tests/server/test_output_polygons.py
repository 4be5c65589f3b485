"""Polygons along the edges of pixels."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from server.outputs.polygons import Polygon, polygons_of, signed_area

masks = arrays.arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12)))


def drawn(polygons: list[Polygon], shape: tuple[int, ...]) -> np.ndarray:
    """The mask again: inside is where a ray from the centre to the left crosses an odd number of edges."""
    crossings = np.zeros(shape, int)
    for polygon in polygons:
        for ring in (polygon.exterior, *polygon.holes):
            for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
                if x0 == x1:
                    crossings[min(y0, y1) : max(y0, y1), x0:] += 1
    return crossings % 2 == 1


@settings(max_examples=150, deadline=None)
@given(masks)
def test_any_mask_comes_back(mask: np.ndarray) -> None:
    polygons = polygons_of(mask)
    assert (drawn(polygons, mask.shape) == mask).all()
    assert len(polygons) == cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)[0] - 1
    area = sum(
        signed_area(each.exterior) + sum(signed_area(hole) for hole in each.holes) for each in polygons
    )
    assert area == mask.sum()


@settings(max_examples=50, deadline=None)
@given(masks)
def test_corners_are_corners_and_rings_do_not_touch_themselves_along_edges(mask: np.ndarray) -> None:
    for polygon in polygons_of(mask):
        assert signed_area(polygon.exterior) > 0
        assert all(signed_area(hole) < 0 for hole in polygon.holes)
        for ring in (polygon.exterior, *polygon.holes):
            steps = np.roll(ring, -1, axis=0) - ring
            # Each edge is straight, and the next one turns.
            assert ((steps == 0).sum(axis=1) == 1).all()
            assert ((steps[:, 0] == 0) != (np.roll(steps, -1, axis=0)[:, 0] == 0)).all()


def test_one_pixel_is_a_square_of_half_open_coordinates() -> None:
    mask = np.zeros((3, 4), np.bool_)
    mask[1, 2] = True
    (only,) = polygons_of(mask)
    assert only.exterior.tolist() == [[2, 1], [3, 1], [3, 2], [2, 2]]
    assert only.holes == ()


def test_a_ring_has_a_hole_and_what_lies_in_the_hole_is_a_part_of_its_own() -> None:
    mask = np.ones((7, 7), np.bool_)
    mask[1:6, 1:6] = False
    mask[3, 3] = True
    outer, inner = polygons_of(mask)
    assert outer.exterior.tolist() == [[0, 0], [7, 0], [7, 7], [0, 7]]
    assert [signed_area(hole) for hole in outer.holes] == [-25]
    assert inner.exterior.tolist() == [[3, 3], [4, 3], [4, 4], [3, 4]]


def test_pixels_that_touch_at_a_corner_are_two_parts() -> None:
    assert len(polygons_of(np.eye(2, dtype=np.bool_))) == 2


@pytest.mark.parametrize("shape", [(1, 1), (5, 3)])
def test_nothing_has_no_polygons(shape: tuple[int, int]) -> None:
    assert polygons_of(np.zeros(shape, np.bool_)) == []
