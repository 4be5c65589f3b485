from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from models_store import rle
from models_store.errors import BadInputError

BOX = np.zeros((4, 5), dtype=bool)
BOX[1:3, 2:4] = True

# What pycocotools 2.0.11 makes of these masks.
BY_PYCOCOTOOLS = [
    (np.zeros((3, 4), dtype=bool), "<"),
    (np.ones((3, 4), dtype=bool), "0<"),
    (BOX, "92203"),
    (np.eye(5, 7, dtype=bool), "01500000005"),
]


@pytest.mark.parametrize(("mask", "counts"), BY_PYCOCOTOOLS)
def test_counts_are_those_of_pycocotools(mask: NDArray[np.bool_], counts: str) -> None:
    assert rle.encode(mask) == counts
    assert (rle.decode(counts, *mask.shape) == mask).all()


def test_a_disc_is_packed_as_pycocotools_does() -> None:
    # Long runs and negative differences, which the small masks do not have.
    rows, columns = np.mgrid[:200, :300]
    disc = (rows - 90) ** 2 + (columns - 140) ** 2 < 60**2
    counts = rle.encode(disc)
    assert counts.startswith(
        "hl?e0^5:H6J6K4K6K4M2M4L4M2N2M4M2N2N2N2N2N2N2N2N2N2O0O2N2N2O0O2O0O2N2O0O2O000O2O0"
    )
    assert len(counts) == 246


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_decoding_undoes_encoding(mask: NDArray[np.bool_]) -> None:
    assert (rle.decode(rle.encode(mask), *mask.shape) == mask).all()


@given(st.text(max_size=12))
def test_any_other_text_is_refused_or_fills_the_size(counts: str) -> None:
    try:
        mask = rle.decode(counts, 3, 4)
    except BadInputError:
        return
    assert mask.shape == (3, 4)


@pytest.mark.parametrize("counts", ["", "92203", "é", "9220", "P"])
def test_counts_that_do_not_fill_the_mask_are_refused(counts: str) -> None:
    with pytest.raises(BadInputError):
        rle.decode(counts, 3, 4)
