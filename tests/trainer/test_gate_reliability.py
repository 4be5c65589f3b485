import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.gate.reliability import PixelReliability, calibration_error, confidence_curve


def reliability(*images):
    total = PixelReliability()
    for probability, truth, *ignored in images:
        total.add(np.asarray(probability, np.float32), np.asarray(truth, np.bool_), *ignored)
    return total


class TestPixels:
    def test_what_is_said_as_often_as_it_is_so_has_no_error(self):
        probability = np.full((10, 10), 0.25, np.float32)
        truth = np.arange(100).reshape(10, 10) % 4 == 0
        assert reliability((probability, truth)).error == pytest.approx(0)

    def test_sure_and_wrong_has_all_error(self):
        assert reliability((np.ones((4, 4)), np.zeros((4, 4)))).error == pytest.approx(1)

    def test_each_image_counts_alike(self):
        small, large = (np.full((side, side), 0.95) for side in (2, 40))
        found = reliability((small, np.zeros((2, 2))), (large, np.ones((40, 40))))
        assert found.error == pytest.approx(0.45, abs=1e-6)
        assert found.curve()[0]["so"] == pytest.approx(0.5)

    def test_what_nobody_labelled_does_not_count(self):
        ignored = np.array([[True, False]])
        found = reliability(([[1.0, 0.0]], [[False, False]], ignored))
        assert found.error == pytest.approx(0)
        assert reliability(([[1.0]], [[False]], np.array([[True]]))).error is None

    @given(st.lists(st.tuples(st.floats(0, 1, width=32), st.booleans()), min_size=1, max_size=30))
    @settings(max_examples=50)
    def test_parts_add_up(self, pixels):
        probability, truth = (np.array([list(column)]) for column in zip(*pixels, strict=True))
        whole, half = (
            reliability((probability, truth), (probability, truth)),
            reliability((probability, truth)),
        )
        assert (half + half).error == pytest.approx(whole.error)
        assert 0 <= whole.error <= 1
        assert sum(point["weight"] for point in whole.curve()) == pytest.approx(1)


class TestMasks:
    def test_confidence_is_held_against_dice_without_empty_masks(self):
        curve = confidence_curve([0.95, 0.95, None, 0.55], [0.5, 0.7, 1.0, 0.55])
        assert [point["weight"] for point in curve] == pytest.approx([1 / 3, 2 / 3])
        assert calibration_error(curve) == pytest.approx(2 / 3 * 0.35)

    def test_without_masks_there_is_no_error(self):
        assert confidence_curve([None], [1.0]) == []
        assert calibration_error([]) is None
