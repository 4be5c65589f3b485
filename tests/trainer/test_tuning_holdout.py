import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_store.errors import BadInputError
from trainer.tuning.holdout import holdout_size, split_holdout

GROUPS = st.lists(st.sampled_from([None, None, "a", "b", "c", "d"]), min_size=2, max_size=40)


class TestImages:
    @pytest.mark.parametrize(
        ("images", "held"), [(2, 1), (3, 1), (10, 3), (24, 8), (40, 8), (100, 15), (400, 60)]
    )
    def test_holds_out_fifteen_percent_but_eight_and_at_most_a_third(self, images, held):
        assert holdout_size(images) == held

    def test_parts_the_images_by_the_seed(self):
        training, held = split_holdout(40, seed=1)
        assert sorted(training + held) == list(range(40))
        assert split_holdout(40, seed=1) == (training, held)
        assert split_holdout(40, seed=2)[1] != held

    def test_the_draw_without_groups_never_changes(self):
        # Checkpoints were published with it.
        assert split_holdout(40, seed=12345)[1] == [5, 9, 12, 16, 19, 24, 30, 31]
        assert split_holdout(40, seed=12345, groups=[None] * 40)[1] == [5, 9, 12, 16, 19, 24, 30, 31]
        assert split_holdout(11, seed=7, seen={1, 2, 3, 4, 5, 6, 7, 8, 9})[1] == [0, 1, 10]

    def test_one_image_cannot_be_parted(self):
        with pytest.raises(BadInputError, match="too few"):
            split_holdout(1, seed=1)


class TestGroups:
    @given(GROUPS, st.integers(0, 50), st.sets(st.integers(0, 39)))
    def test_none_is_parted_and_both_sides_have_images(self, groups, seed, seen):
        training, held = split_holdout(len(groups), seed, seen, groups=groups)
        assert sorted(training + held) == list(range(len(groups)))
        assert training
        assert held
        if groups.count(groups[0]) < len(groups) or groups[0] is None:
            assert not ({groups[i] for i in training} & {groups[i] for i in held}) - {None}

    @pytest.mark.parametrize(
        ("sizes", "held"),
        [
            # 24 images, of which 8 are wanted.
            ([4, 4, 4, 4, 4, 4], 8),
            ([3, 3, 3, 3, 3, 3, 3, 3], 9),
            ([5, 5, 14], 10),
            ([10, 14], 10),
            ([1, 23], 1),
            ([7, 7, 9, 1], 8),
        ],
    )
    def test_as_near_to_what_is_wanted_as_whole_groups_allow(self, sizes, held):
        groups = [str(group) for group, size in enumerate(sizes) for _ in range(size)]
        assert {len(split_holdout(24, seed, groups=groups)[1]) for seed in range(20)} == {held}

    def test_the_seed_says_which(self):
        groups = [str(i // 4) for i in range(40)]
        drawn = {tuple(split_holdout(40, seed, groups=groups)[1]) for seed in range(30)}
        assert len(drawn) > 10

    def test_one_group_is_drawn_from_image_by_image(self):
        assert split_holdout(20, 3, groups=["p"] * 20) == split_holdout(20, 3)

    def test_a_group_of_which_the_start_saw_an_image_is_held_out_last(self):
        groups = [str(i // 4) for i in range(40)]
        # One image each of the first five groups.
        for seed in range(10):
            _, held = split_holdout(40, seed, seen=range(0, 20, 4), groups=groups)
            assert len(held) == 8
            assert min(held) >= 20
        # Four new images are too few for the eight that are wanted.
        _, held = split_holdout(40, 5, seen=range(0, 36), groups=groups)
        assert len(held) == 8
        assert {36, 37, 38, 39} < set(held)
