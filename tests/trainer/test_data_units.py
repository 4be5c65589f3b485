from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from trainer.data.units import nearest, units_by_group

SIZES = st.lists(st.integers(1, 6), min_size=1, max_size=7)


def sums(sizes, least):
    """Every choice of units, by its sum."""
    every = (chosen for count in range(len(sizes) + 1) for chosen in combinations(range(len(sizes)), count))
    found = {}
    for chosen in every:
        found.setdefault(sum(sizes[unit] for unit in chosen), []).append(list(chosen))
    return {total: choices for total, choices in found.items() if total >= least}


class TestNearest:
    @given(SIZES, st.integers(1, 12), st.integers(0, 1))
    def test_no_choice_of_whole_units_is_nearer(self, sizes, wanted, least):
        possible = sums(sizes, least)
        best = min(possible, key=lambda total: (abs(total - wanted), total))
        # Of the choices with that sum, the one that takes the first units.
        assert nearest(sizes, wanted, least=least) == min(possible[best])

    def test_units_of_one_are_taken_in_order(self):
        assert nearest([1] * 9, 4) == [0, 1, 2, 3]
        assert nearest([1] * 3, 8) == [0, 1, 2]

    def test_a_unit_that_is_too_large_is_taken_only_where_none_is_nearer(self):
        assert nearest([30, 2, 3], 4) == [2]
        assert nearest([30, 40], 4) == [0]
        assert nearest([30, 40], 4, least=0) == []

    def test_of_nothing_nothing(self):
        assert nearest([], 4) == []


def test_an_image_without_a_group_is_a_unit():
    assert units_by_group(["b", None, "a", "b", None]) == [[0, 3], [1], [2], [4]]
