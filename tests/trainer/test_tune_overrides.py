"""``tunevlseg tune KEY=VALUE ...`` is ``python -m trainer KEY=VALUE ...``."""

import json
import subprocess
import sys

import pytest
from toy_data import write_toy
from typer import Typer
from typer.testing import CliRunner

from models_store.errors import BadInputError
from server.cli.evaluate import evaluate
from server.cli.tune import tune

WORDS = ["experiment=coop_clipseg", "data=folder"]

app = Typer()
app.command()(tune)
app.command()(evaluate)


@pytest.fixture(autouse=True)
def still_this_process(monkeypatch):
    """What should have been refused must not become another program in the midst of the tests."""
    monkeypatch.setattr("os.execv", lambda *_: pytest.fail("the command became another program"))


def refused(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["tune", *arguments])
    assert isinstance(result.exception, BadInputError)
    return str(result.exception)


def run(*arguments: str, cwd) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "server.cli.main", "tune", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_an_experiment_is_tuned_with_its_overrides(tiny_folder, tmp_path):
    folder = write_toy(tmp_path / "a=b", train=8, val=3)
    done = run(
        *WORDS, f"data.folder='{folder}'", f"model.name={tiny_folder}", f"paths.state={tmp_path / 'state'}",
        "trainer.max_epochs=2", "trainer.min_epochs=1", "strategy.depth=2", "data.batch_size=4",
        "publish.name=mine", "threads=1", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "published as mine/v0001" in done.stdout
    version = tmp_path / "state" / "registry" / "mine" / "versions" / "v0001"
    config = json.loads((version / "adapter_config.json").read_text())
    assert (config["strategy"], config["depth"]) == ("coop", 2)


def test_what_is_wrong_with_them_is_told_as_there(tmp_path):
    done = run(*WORDS, f"data.folder={tmp_path / 'none'}", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")


def test_options_are_not_mixed_with_them():
    said = refused(*WORDS, "--epochs", "3", "--no-augment")
    assert "--epochs, --augment cannot be given beside KEY=VALUE words" in said


@pytest.mark.parametrize("words", [["data=busi", "folder"], ["one", "two"]])
def test_several_words_are_overrides_or_nothing(words):
    assert "neither one folder nor KEY=VALUE" in refused(*words)


def test_a_folder_with_an_equals_sign_is_a_folder(tiny_folder, tmp_path):
    folder = write_toy(tmp_path / "k=v", train=1, val=1)
    result = CliRunner().invoke(
        app,
        [
            "tune",
            str(folder),
            "--name",
            "k",
            "--base",
            str(tiny_folder),
            "--data-dir",
            str(tmp_path / "data"),
        ],
    )
    assert "1 labelled image is too few" in str(result.exception)
