import csv
import io

import pytest
from PIL import Image

from trainer.acquisition.simulation.chart import curves_chart
from trainer.acquisition.simulation.figures import compare, curve, room, seeds_interval, whole_pool
from trainer.acquisition.simulation.plan import Plan, Protocol
from trainer.acquisition.simulation.table import cells_csv, markdown

PROTOCOL = Protocol(sizes=(4, 8, 16), pool=20)


@pytest.fixture
def plan(tiny):
    return Plan("toy", PROTOCOL, tiny.spec, ("random", "combined"), (0, 1, 2), data="digest")


def filled(plan, gains, missing=()):
    """Contents in which combined is so much better than random after the first size, by seed."""
    contents = {}
    for cell in plan.cells():
        dice = 0.1 if cell.order == "zero-shot" else 0.5 + cell.labels / 100 + cell.seed / 10
        if cell.order == "combined":
            dice += gains[cell.seed]
        contents[cell] = {"dice": dice, "images": [{}] * 3, "seconds": 1.25}
    return {cell: None if (cell.order, cell.seed) in missing else found for cell, found in contents.items()}


class TestSeedsInterval:
    def test_is_students(self):
        found = seeds_interval([1, 2, 3])
        # Student's t of 2 degrees of freedom at 97.5 % is 4.3027; the standard error is 1 / sqrt(3).
        assert (found.mean, found.n) == (2, 3)
        assert (found.low, found.high) == pytest.approx((2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), abs=1e-4)

    def test_one_seed_has_no_interval_and_none_no_mean(self):
        assert (seeds_interval([0.5]).low, seeds_interval([0.5]).high) == (0.5, 0.5)
        with pytest.raises(ValueError, match="no values"):
            seeds_interval([])


class TestCompare:
    @pytest.mark.parametrize(
        ("gains", "reads"),
        [
            ((0.05, 0.06, 0.055), "better"),
            ((-0.05, -0.06, -0.055), "worse"),
            ((0.05, -0.06, 0.0), "not told apart"),
        ],
    )
    def test_seeds_are_paired(self, plan, gains, reads):
        found = compare(plan, filled(plan, gains), "combined", "random")
        assert found.reads == reads
        assert found.difference.mean == pytest.approx(sum(gains) / 3)
        assert found.last == pytest.approx(found.difference)

    def test_only_seeds_of_both_count(self, plan):
        contents = filled(plan, (0.05, 0.06, 9), missing=[("combined", 2)])
        assert compare(plan, contents, "combined", "random").difference.n == 2
        assert [point.n for point in curve(plan, contents, "random")] == [2, 2, 2]
        contents = filled(plan, (0, 0, 0), missing=[("combined", seed) for seed in (0, 1, 2)])
        assert compare(plan, contents, "combined", "random") is None
        assert curve(plan, contents, "random") == []

    def test_one_seed_tells_nothing(self, plan):
        contents = filled(plan, (0.5, 0, 0), missing=[("combined", 1), ("combined", 2)])
        assert compare(plan, contents, "combined", "random").reads == "one seed tells nothing"


class TestRoom:
    def test_the_whole_pool_is_compared_with_the_first_labels_of_the_same_seed(self, plan):
        contents = filled(plan, (0, 0, 0), missing=[("all", 1)])
        assert (room(plan, contents).mean, room(plan, contents).n) == (pytest.approx(0.16), 2)
        assert room(plan, dict.fromkeys(plan.cells())) is None

    def test_no_room_is_told(self, plan):
        contents = filled(plan, (0, 0, 0))
        for seed, dice in ((0, 0.3), (1, 0.9), (2, 0.6)):
            contents[plan.whole_pool(seed)]["dice"] = dice
        assert "labels are not what this tuning lacks" in markdown([(plan, contents)], command="x")


class TestWritten:
    def test_figures_of_the_table(self, plan):
        text = markdown([(plan, filled(plan, (0.05, 0.06, 0.055)))], command="tunevlseg simulate-labelling")
        assert (
            "| toy | combined | better | +0.055 (+0.043 to +0.067) | +0.055 (+0.043 to +0.067) | 3 |" in text
        )
        assert "Of 1 comparisons: 1 better." in text
        assert "Mean Dice over 3 seeds. Zero-shot: Dice 0.100. With all 20 images" in text
        # 20 labels minus 4, at a hundredth each.
        assert "That is +0.160 (+0.160 to +0.160) against the first 4, paired by seed: there is room" in text
        assert "| random | 0.640 (0.392 to 0.888) | 0.680 " in text

    def test_what_is_missing_is_told(self, plan):
        text = markdown([(plan, filled(plan, (0, 0, 0), missing=[("combined", 1)]))], command="x")
        assert "Mean Dice over 2 seeds; 1 are not finished." in text
        nothing = markdown([(plan, dict.fromkeys(plan.cells()))], command="x")
        assert "Nothing is finished" in nothing
        assert "No seed is finished" in nothing
        assert whole_pool(plan, dict.fromkeys(plan.cells())) is None

    def test_every_cell_has_a_row(self, plan):
        contents = filled(plan, (0.05, 0.06, 0.055), missing=[("combined", 2)])
        rows = list(csv.DictReader(io.StringIO(cells_csv([(plan, contents)]))))
        assert [(r["order"], int(r["labels"]), int(r["seed"])) for r in rows] == [
            (cell.order, cell.labels, cell.seed) for cell in plan.cells()
        ]
        for row, content in zip(rows, contents.values(), strict=True):
            assert row["dice"] == ("" if content is None else str(content["dice"]))

    def test_the_chart_is_a_picture_even_of_nothing(self, plan):
        for contents in (filled(plan, (0.1, 0.1, 0.2)), dict.fromkeys(plan.cells())):
            Image.open(io.BytesIO(curves_chart([(plan, contents), (plan, contents)]))).verify()
