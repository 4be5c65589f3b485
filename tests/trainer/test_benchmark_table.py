import csv
import io
import re

import numpy as np
import pytest
from benchmark_parts import COMMAND, SHORT, made_up
from PIL import Image

from trainer.benchmark.chart import COLOURS, dice_chart
from trainer.benchmark.compare import answers, best_of, difference, overlapping
from trainer.benchmark.plan import Cell
from trainer.benchmark.table import markdown
from trainer.benchmark.table_csv import table_csv

LOW, MIDDLE, HIGH = ([b + d for d in (-0.1, 0.0, 0.1, 0.05)] for b in (0.2, 0.8, 0.85))


@pytest.fixture
def contents():
    failed = Cell("one", "b", "maple", "1" * 12), {"status": "failed", "error": "BadInputError: a|b"}
    missing = Cell("two", "b", "vpt", "1" * 12), None
    return [
        made_up(LOW, "zero-shot"),
        made_up(MIDDLE, "coop"),
        made_up(HIGH, "vpt"),
        failed,
        made_up(MIDDLE, "zero-shot", "two"),
        missing,
    ]


def line(text, *words):
    return next(ln for ln in text.splitlines() if all(word in ln for word in words))


class TestMarkdown:
    def test_marks_the_best_and_what_may_equal_it(self, contents):
        text = markdown(contents, command=COMMAND, protocol=SHORT)
        overview = text.split("## one")[0]
        assert line(overview, "| b | vpt |") == "| b | vpt | **0.862** |  |  |"
        assert line(overview, "| b | coop |") == "| b | coop | 0.812 ≈ |  |  |"
        assert line(overview, "zero-shot").startswith("| b | zero-shot | 0.213 | **0.812** |")
        part = text.split("## one")[1].split("## two")[0]
        assert "**0.862 (" in line(part, "| vpt |")
        assert "1,234" in line(part, "| vpt |")
        said = line(part, "Best:")
        assert "Best: vpt on b. Its interval overlaps with those of coop on b." in said
        assert "0.050 (0.050 to 0.050) above coop on b" in said

    def test_says_which_command_made_it_and_what_is_missing_and_why(self, contents):
        text = markdown(contents, command=COMMAND, protocol=SHORT)
        assert f"```sh\n{COMMAND}\n```" in text
        assert "4 of 6 cells are finished" in text
        assert r"- one, b, maple: failed: BadInputError: a\|b" in text
        assert "- two, b, vpt: not measured yet" in text
        assert "at most 1 epoch each" in text

    def test_compares_kinds_of_prompt(self, contents):
        text = markdown(contents, command=COMMAND, protocol=SHORT)
        assert line(text, "visual minus text") == (
            "| b | visual minus text | one | better | 0.050 (0.050 to 0.050) |"
        )

    def test_every_table_has_cells_for_its_columns(self, contents):
        text = markdown(contents, command=COMMAND, protocol=SHORT)
        tables = re.findall(r"(?:^\|.*\n)+", text, re.M)
        assert len(tables) == 5
        for table in tables:
            assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1

    def test_shows_classes_apart(self, contents):
        cell, content = contents[2]
        parts = [
            {"phrase": name, "n": 2, "figures": {"dice": {"mean": mean}}}
            for name, mean in (("car", 0.25), ("sky", 0.75))
        ]
        means = {key: {"mean": 0.5} for key in ("joint_dice", "joint_pooled_dice", "joint_pooled_iou")}
        several = content | {"by_phrase": parts, "multiclass": {"mean": means}}
        text = markdown([(cell, several)], command=COMMAND, protocol=SHORT)
        assert "| car | 2 | 0.250 |" in text
        assert "| b | vpt | 0.862 | 0.500 | 0.500 | 0.500 |" in text


class TestCsv:
    def test_has_a_row_per_cell_with_unrounded_figures(self, contents):
        rows = list(csv.DictReader(io.StringIO(table_csv(contents))))
        assert [r["status"] for r in rows] == ["done"] * 3 + ["failed", "done", "missing"]
        best = rows[2]
        assert float(best["dice_mean"]) == contents[2][1]["figures"]["dice"]["mean"]
        assert float(best["difference_mean"]) == pytest.approx(0.8625)
        assert (best["learnable"], best["chosen"]) == ("1234", "lr 0.01, weight decay 0.0001")
        assert (rows[3]["dice_mean"], rows[0]["difference_mean"]) == ("", "")


class TestCompare:
    def test_intervals_and_differences(self, contents):
        low, middle, high = (content for _, content in contents[:3])
        assert overlapping(middle, high)
        assert not overlapping(low, high)
        assert best_of([(c, content) for c, content in contents[:3]])[0].method == "vpt"
        assert difference([high, middle], [low])["mean"] == pytest.approx(0.625)

    def test_cells_on_other_images_are_not_compared(self):
        with pytest.raises(ValueError, match="different images"):
            difference([made_up([0.5, 0.6])[1]], [made_up([0.5])[1]])

    def test_a_question_needs_both_kinds(self, contents):
        done = [(c, content) for c, content in contents if content and content["status"] == "done"]
        assert [r["dataset"] for r in answers(done, ["one", "two"], ["b"])] == ["one"]


class TestChart:
    def test_draws_each_kind_in_its_colour_and_grows_with_datasets(self, contents, tmp_path):
        def drawn(some):
            path = tmp_path / "chart.png"
            path.write_bytes(dice_chart(some))
            return np.asarray(Image.open(path).convert("RGB")).astype(int)

        both = drawn(contents)
        for kind in ("text", "visual", "baseline"):
            wanted = np.array([int(COLOURS[kind][i : i + 2], 16) for i in (1, 3, 5)])
            assert (np.abs(both - wanted).max(axis=2) < 12).sum() > 20
        assert drawn(contents[:4]).shape[1] < both.shape[1]
        assert drawn([contents[5]]).shape[0] > 50
