from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from server.masks import binarize, measure
from server.render import COLOURS, mask_png, overlay_png, probability_png

PROBABILITY = np.zeros((6, 8), dtype=np.float32)
PROBABILITY[2:5, 3:7] = 0.75
PROBABILITY[2, 3] = 0.5


def opened(png: bytes) -> NDArray[np.uint8]:
    with Image.open(BytesIO(png)) as image:
        assert image.format == "PNG"
        return np.array(image)


class TestMeasure:
    def test_box_area_and_confidence(self) -> None:
        measures = measure(binarize(PROBABILITY, 0.5), PROBABILITY, (0.5, 2.0))
        assert measures.box == (3, 2, 7, 5)
        assert measures.area_px == 12
        assert measures.area_mm2 == 12.0
        assert measures.confidence == pytest.approx((11 * 0.75 + 0.5) / 12)

    def test_a_pixel_at_the_threshold_is_in(self) -> None:
        assert binarize(PROBABILITY, 0.5)[2, 3]
        assert not binarize(PROBABILITY, 0.51)[2, 3]

    def test_an_empty_mask_has_no_box_and_no_confidence(self) -> None:
        measures = measure(binarize(PROBABILITY, 0.9), PROBABILITY, (1.0, 1.0))
        assert (measures.box, measures.area_px, measures.area_mm2, measures.confidence) == (
            None,
            0,
            0.0,
            None,
        )

    def test_without_spacing_there_are_no_millimetres(self) -> None:
        assert measure(binarize(PROBABILITY, 0.5), PROBABILITY, None).area_mm2 is None


class TestPictures:
    def test_mask_is_black_and_white(self) -> None:
        picture = opened(mask_png(PROBABILITY > 0))
        assert picture.dtype == np.uint8
        assert (picture == np.where(PROBABILITY > 0, 255, 0)).all()

    def test_probability_spans_a_byte(self) -> None:
        picture = opened(probability_png(np.array([[0, 0.5, 1]], dtype=np.float32)))
        assert picture.tolist() == [[0, 128, 255]]

    def test_overlay_tints_inside_and_leaves_the_rest(self) -> None:
        image = np.full((60, 80, 3), 100, dtype=np.uint8)
        first, second = np.zeros((2, 60, 80), dtype=bool)
        first[10:30, 10:30] = True
        second[40:55, 50:70] = True
        picture = opened(overlay_png(image, [first, second]))
        assert (picture[~(first | second)] == 100).all()
        for mask_, inside, colour in ((first, (20, 20), COLOURS[0]), (second, (47, 60), COLOURS[1])):
            expected = [round(100 * 0.6 + c * 0.4) for c in colour]
            assert np.abs(picture[inside].astype(int) - expected).max() <= 1
            assert tuple(picture[mask_][0]) == colour
        assert (image == 100).all()

    def test_as_many_colours_as_phrases_and_all_different(self) -> None:
        assert len(set(COLOURS)) == len(COLOURS) == 8
