import csv
import io
import json
import re

import numpy as np
import pytest
import torch
from page_parts import Page
from PIL import Image
from toy_data import edit_split, write_toy

from models_store.packs import ZERO_SHOT
from models_store.strategies import make_learner
from trainer.comparison import comparison_report
from trainer.evaluate import evaluate_examples, evaluation_examples
from trainer.reports.cases import PREDICTION, TRUTH, outlined, worst_cases
from trainer.reports.content import reading
from trainer.reports.markdown import plain
from trainer.reports.write import report_files, write_report

CPU = torch.device("cpu")
TITLE = "Toy <b>&</b> | more"
PHRASES = ["bright half", "<script>alert(1)</script> | *half*"]
INTERVAL = {"mean": 0.5, "low": 0.4, "high": 0.6, "n": 5}
TRAINING = {
    "images": 3,
    "epochs": 2,
    "best_epoch": 2,
    "seconds": 61.0,
    "history": [
        {"epoch": 1, "train_loss": 0.9, "select_loss": 0.8, "select_dice": 0.3, "lr": 1e-2},
        {"epoch": 2, "train_loss": 0.5, "select_loss": 0.6, "select_dice": 0.5, "lr": 1e-2},
    ],
}


@pytest.fixture(scope="module")
def measured(tiny_hybrid, tmp_path_factory):
    """Examples with one empty truth and two phrases, and both evaluations."""
    folder = write_toy(tmp_path_factory.mktemp("reports") / "toy", train=1, val=5)
    Image.new("L", (80, 72)).save(folder / "masks" / "val_00.png")
    edit_split(folder, "val", lambda es: [e["prompts"].update(p1=PHRASES[i % 2]) for i, e in enumerate(es)])
    examples = evaluation_examples(folder, tiny_hybrid)
    pack = make_learner("vpt", tiny_hybrid, depth=1).fold()
    results = [evaluate_examples(tiny_hybrid, p, examples, device=CPU) for p in (ZERO_SHOT, pack)]
    return examples, pack, results


def report_of(measured, *, tuned=True):
    before, after = measured[2]
    return comparison_report(before, after if tuned else None, split="val", prompt_key="p1", phrase=None)


def sensitivity(sides):
    ways = [{"label": label, "example": label, "n": 5, "dice": INTERVAL} for label in ("p1", "$a$ b")]
    side = {"deviation": INTERVAL, "range": INTERVAL, "paraphrases": ways}
    return {"images": 5} | dict.fromkeys(sides, side)


@pytest.fixture(scope="module")
def full(measured, tiny_hybrid):
    """A report with everything in it, and its files."""
    examples, pack, (_, after) = measured
    report = report_of(measured) | {
        "training": TRAINING,
        "selection": {"note": "The epoch was chosen elsewhere."},
        "sensitivity": sensitivity(["zero_shot", "tuned"]),
    }
    cases = worst_cases(tiny_hybrid, pack, examples, after, device=CPU, count=3)
    return report, report_files(report, title=TITLE, cases=cases)


class TestHtml:
    def test_asks_nothing_of_any_server_and_runs_nothing(self, full):
        page = Page(full[1]["report.html"].decode())
        assert len(page.fetched) == 3 + 3
        assert all(re.match(r"data:image/(png|jpeg);base64,", source) for source in page.fetched)
        assert not {"script", "link", "iframe", "object", "b"} & set(page.tags)
        assert "url(" not in full[1]["report.html"].decode()

    def test_shows_words_as_they_are(self, full):
        words = "".join(Page(full[1]["report.html"].decode()).words)
        assert TITLE in words
        assert PHRASES[1] in words

    def test_holds_every_section_there_is_something_for(self, full, measured):
        def headings(page):
            return re.findall("<h2>(.*?)</h2>", page.decode())

        assert headings(full[1]["report.html"]) == [
            "Figures",
            "How Dice is spread",
            "By phrase",
            "Sensitivity to the wording",
            "Training",
            "Worst cases",
            "How this was measured",
        ]
        bare = report_files(report_of(measured, tuned=False), title="t")
        assert headings(bare["report.html"]) == [
            "Figures",
            "How Dice is spread",
            "By phrase",
            "How this was measured",
        ]

    def test_gives_the_figures(self, full):
        report, files = full
        page = files["report.html"].decode()
        dice = report["tuned"]["dice"]
        assert f"{dice['mean']:.3f} ({dice['low']:.3f} to {dice['high']:.3f})" in page
        assert f"{report['tuned']['hd95_undefined']} images" in page


class TestFiles:
    def test_markdown_refers_to_files_beside_it_and_keeps_its_tables(self, full, tmp_path):
        report, _ = full
        paths = write_report(tmp_path / "new" / "out", report, title=TITLE)
        assert {p.name for p in paths} == {p.name for p in (tmp_path / "new" / "out").iterdir()}
        text = (tmp_path / "new" / "out" / "report.md").read_text()
        referred = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)
        assert referred == ["dice.png", "paraphrases.png", "curves.png"]
        for name in referred:
            Image.open(tmp_path / "new" / "out" / name).verify()
        for block in re.findall(r"(?:^\|.*\n)+", text, re.M):
            bars = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
            assert len(bars) == 1

    def test_csv_has_every_image_and_an_empty_cell_where_hd95_is_undefined(self, full):
        report, files = full
        rows = list(csv.DictReader(io.StringIO(files["images.csv"].decode())))
        assert [r["name"] for r in rows] == [i["name"] for i in report["images"]]
        for row, image in zip(rows, report["images"], strict=True):
            assert float(row["tuned_dice"]) == image["tuned"]["dice"]
            expected = image["tuned"]["hd95"]
            assert row["tuned_hd95"] == ("" if expected is None else str(expected))
        assert any(image["tuned"]["hd95"] is None for image in report["images"])

    def test_json_is_the_report(self, full):
        assert json.loads(full[1]["report.json"]) == json.loads(json.dumps(full[0]))


class TestCases:
    def test_the_worst_come_first(self, measured, tiny_hybrid):
        examples, pack, (_, after) = measured
        cases = worst_cases(tiny_hybrid, pack, examples, after, device=CPU, count=4)
        assert [c.score.counts.dice for c in cases] == sorted(after.dice)[:4]
        assert Image.open(io.BytesIO(cases[0].jpeg)).format == "JPEG"

    def test_both_outlines_are_drawn_where_the_masks_end(self):
        image = np.full((400, 800, 3), 90, np.uint8)
        truth, mask = (np.zeros((400, 800), np.bool_) for _ in range(2))
        truth[100:300, 100:300], mask[100:300, 500:700] = True, True
        drawn = outlined(image, truth, mask, side=200)
        assert drawn.shape == (100, 200, 3)
        for colour, columns in ((TRUTH, slice(20, 80)), (PREDICTION, slice(120, 180))):
            found = (drawn == np.array(colour)).all(axis=2)
            assert found.any()
            assert found[:, columns].sum() == found.sum()
            assert not found[40:60, columns.start + 15 : columns.stop - 15].any()

    def test_an_image_without_anything_to_find_says_so(self, measured, tiny_hybrid):
        examples, pack, (_, after) = measured
        cases = worst_cases(tiny_hybrid, pack, examples, after, device=CPU, count=5)
        captions = [case.picture("x.jpg").caption for case in cases if not case.score.counts.truth]
        assert len(captions) == 1
        assert "nothing to find" in captions[0]


class TestWords:
    @pytest.mark.parametrize(
        ("low", "high", "said"), [(0.01, 0.2, "better"), (-0.2, -0.01, "worse"), (-0.1, 0.1, "holds 0")]
    )
    def test_a_difference_is_read_by_its_interval(self, low, high, said):
        assert said in reading({"mean": 0.0, "low": low, "high": high})

    def test_markup_becomes_words(self):
        assert plain("a|b *c*\n<d>") == r"a\|b \*c\* \<d\>"
