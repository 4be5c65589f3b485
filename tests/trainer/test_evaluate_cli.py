import csv
import json

import pytest
from toy_data import PHRASE, write_toy
from typer import Typer
from typer.testing import CliRunner

from models_store.errors import BadInputError
from server.cli.evaluate import evaluate
from server.cli.tune import tune

app = Typer()
app.command()(evaluate)
app.command()(tune)


def invoke(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def folder(tmp_path):
    return write_toy(tmp_path / "toy", train=6, val=4)


class TestEvaluateReport:
    def test_a_checkpoint_is_reported_with_its_curves_words_and_worst_cases(
        self, tiny_folder, folder, tmp_path
    ):
        where = ["--base", tiny_folder, "--data-dir", tmp_path / "data"]
        invoke("tune", folder, "--epochs", "1", "--depth", "2", "--name", "mine", *where)
        out = tmp_path / "reports" / "mine"
        result = invoke("evaluate", folder, "--checkpoint", "mine", "--report", out, *where)
        assert result.exit_code == 0
        assert "HD95" in result.output
        report = json.loads((out / "report.json").read_text())
        assert report["checkpoint"] == "mine/v0001"
        assert len(report["training"]["history"]) == 1
        assert report["sensitivity"]["images"] == 4
        assert set(report["sensitivity"]) == {"images", "zero_shot", "tuned"}
        page = (out / "report.html").read_text()
        for heading in ("Sensitivity to the wording", "Training", "Worst cases"):
            assert f"<h2>{heading}</h2>" in page
        assert page.count("data:image/jpeg") == 4
        with (out / "images.csv").open() as table:
            assert [row["name"] for row in csv.DictReader(table)] == [i["name"] for i in report["images"]]

    def test_ones_own_paraphrases_are_asked(self, tiny_folder, folder, tmp_path):
        words = tmp_path / "words.json"
        words.write_text(json.dumps({PHRASE: ["light side"]}))
        result = invoke("evaluate", folder, "--base", tiny_folder, "--paraphrases", words, "--json")
        report = json.loads(result.stdout)
        asked = [p["label"] for p in report["sensitivity"]["zero_shot"]["paraphrases"]]
        assert asked == ["as asked", "light side"]

    def test_paraphrases_of_another_form_are_refused(self, tiny_folder, folder, tmp_path):
        words = tmp_path / "words.json"
        for content in ("[]", '{"a": "b"}', '{"a": [""]}', "{"):
            words.write_text(content)
            with pytest.raises(BadInputError, match=r"words\.json"):
                invoke("evaluate", folder, "--base", tiny_folder, "--paraphrases", words)

    def test_without_asking_there_is_no_sensitivity(self, tiny_folder, folder):
        result = invoke("evaluate", folder, "--base", tiny_folder, "--json")
        assert "sensitivity" not in json.loads(result.stdout)
