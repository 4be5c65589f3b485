import numpy as np
import pytest

from trainer.acquisition.order import Nearest, farthest_first, largest_first, shuffled


def at_degrees(*degrees: float) -> np.ndarray:
    """Unit features on a circle: their cosine distance is 1 - cos of the angle between them."""
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


class TestLargestFirst:
    def test_of_equals_the_first_given_comes_first(self):
        assert largest_first([0.2, 0.5, 0.2, 0.5]) == [1, 3, 0, 2]

    def test_what_differs_by_rounding_alone_is_equal(self):
        assert largest_first([0.5, 0.5 + 1e-9]) == [0, 1]
        assert largest_first([0.5, 0.5 + 1e-5]) == [1, 0]


class TestShuffled:
    def test_the_seed_decides(self):
        assert shuffled(20, 1) == shuffled(20, 1)
        assert shuffled(20, 1) != shuffled(20, 2)
        assert sorted(shuffled(20, 1)) == list(range(20))


class TestFarthestFirst:
    def test_next_is_farthest_from_the_labelled_and_from_what_was_chosen(self):
        picks = farthest_first(at_degrees(10, 80, 90, 50), at_degrees(0))
        # 90 is farthest from 0; then 50, since 80 is like 90; then 10 and 80 are both 10 degrees away.
        assert [pick.index for pick in picks] == [2, 3, 0, 1]
        assert [pick.nearest for pick in picks] == [
            Nearest(0, True, pytest.approx(1)),
            Nearest(2, False, pytest.approx(1 - np.cos(np.radians(40)))),
            Nearest(0, True, pytest.approx(1 - np.cos(np.radians(10)))),
            Nearest(2, False, pytest.approx(1 - np.cos(np.radians(10)))),
        ]

    def test_weights_multiply_distances(self):
        picks = farthest_first(at_degrees(30, 60), at_degrees(0), weights=np.array([1.0, 0.1]))
        assert [pick.index for pick in picks] == [0, 1]
        assert picks[0].gain == pytest.approx(1 - np.cos(np.radians(30)))
        assert picks[1].gain == pytest.approx(0.1 * (1 - np.cos(np.radians(30))))

    def test_without_labels_all_are_equally_far_and_the_first_given_begins(self):
        picks = farthest_first(at_degrees(0, 5, 90), np.zeros((0, 2)))
        assert [pick.index for pick in picks] == [0, 2, 1]
        assert picks[0].nearest is None
        assert picks[1].nearest == Nearest(0, False, pytest.approx(1))

    def test_the_limit_cuts_and_changes_nothing_before(self):
        pool, labelled = at_degrees(10, 80, 90, 50), at_degrees(0)
        assert farthest_first(pool, labelled, limit=2) == farthest_first(pool, labelled)[:2]
        assert farthest_first(pool, labelled, limit=0) == []

    def test_agrees_with_the_rule_written_out(self):
        rng = np.random.default_rng(3)
        pool, labelled, weights = rng.normal(size=(25, 6)), rng.normal(size=(4, 6)), rng.random(25)
        unit = [row / np.linalg.norm(row) for row in [*labelled, *pool]]
        known, left, expected = unit[:4], list(range(25)), []
        while left:
            best = max(left, key=lambda i: weights[i] * min(1 - unit[4 + i] @ other for other in known))
            left.remove(best)
            known.append(unit[4 + best])
            expected.append(best)
        assert [pick.index for pick in farthest_first(pool, labelled, weights=weights)] == expected
