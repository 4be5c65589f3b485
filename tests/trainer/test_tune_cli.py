import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from job_parts import store_at
from toy_data import write_toy
from typer import Typer
from typer.testing import CliRunner

from models_store.errors import BadInputError
from models_store.registry import CHAMPION, Registry
from server.cli.evaluate import evaluate
from server.cli.tune import tune
from trainer.jobs.decisions import Decisions
from trainer.jobs.outcomes import Kind
from trainer.labels.errors import ConflictError
from trainer.tuning.publish import AUTHOR
from trainer.tuning.state import STATE

DEADLINE = 180.0
LAUNCH = "import torch, typer; torch.set_num_threads(1); from server.cli.tune import tune; typer.run(tune)"
SHORT = ["--epochs", "2", "--depth", "2", "--batch-size", "4"]

app = Typer()
app.command()(tune)
app.command()(evaluate)


@pytest.fixture
def folder(tmp_path):
    return write_toy(tmp_path / "toy", train=12, val=5)


def invoke(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


class TestTuneCommand:
    def test_writes_a_version_and_prints_the_comparison(self, tiny_folder, folder, tmp_path):
        data_dir = tmp_path / "data"
        result = invoke(
            "tune", folder, *SHORT, "--base", tiny_folder, "--data-dir", data_dir, "--name", "mine"
        )
        assert result.exit_code == 0
        assert "zero-shot" in result.stdout
        assert "mine/v0001 is candidate and champion." in result.stdout
        assert "epoch   2: loss" in result.stderr
        version = data_dir / "registry" / "mine" / "versions" / "v0001"
        assert {"cases.png", "dice.png", "eval.json", "loss.png", "README.md"} <= {
            p.name for p in version.iterdir()
        }
        report = json.loads((version / "eval.json").read_text())
        assert {"zero_shot", "tuned", "difference", "selection", "training", "images", "n"} <= report.keys()

    def test_a_second_version_is_champion_only_if_promoted(self, tiny_folder, folder, tmp_path):
        common = ("tune", folder, *SHORT, "--base", tiny_folder, "--data-dir", tmp_path / "data")
        invoke(*common)
        second = invoke(*common, "--seed", "2")
        assert "toy/v0002 is candidate; the champion stays." in second.stdout
        third = invoke(*common, "--seed", "3", "--strategy", "coop", "--promote")
        assert "toy/v0003 is candidate and champion." in third.stdout
        moves = Registry(tmp_path / "data" / "registry").history("toy")
        assert [(m.version, m.author) for m in moves if m.alias == CHAMPION] == [
            ("v0001", AUTHOR),
            ("v0003", AUTHOR),
        ]
        assert not (tmp_path / "data" / "labels.db").exists()

    def test_nothing_is_tuned_to_replace_a_pinned_champion(self, tiny_folder, folder, tmp_path):
        common = ("tune", folder, *SHORT, "--base", tiny_folder, "--data-dir", tmp_path / "data")
        invoke(*common)
        registry, store = Registry(tmp_path / "data" / "registry"), store_at(tmp_path / "data")
        decisions = Decisions(store, registry)
        decisions.pin("toy", by="ann", reason="in a trial")
        with pytest.raises(ConflictError, match="toy is pinned to v0001: unpin it"):
            invoke(*common, "--seed", "2", "--promote")
        assert registry.versions("toy") == ["v0001"]
        decisions.unpin("toy", by="ann", reason="over")
        invoke(*common, "--seed", "2", "--promote")
        newest = decisions.newest("toy")[0]
        assert (newest.kind, newest.version, newest.author) == (Kind.PROMOTED, "v0002", AUTHOR)
        store.database.close()

    def test_a_wrong_setting_is_told(self, tiny_folder, folder, tmp_path):
        with pytest.raises(BadInputError, match="'vpt' takes no initial phrase"):
            invoke("tune", folder, "--initial-phrase", "a photo of a", "--base", tiny_folder)
        with pytest.raises(
            BadInputError, match="hidden is an option of cocoop, maple, shared_separate; vpt has"
        ):
            invoke("tune", folder, "--hidden", "64", "--base", tiny_folder)
        with pytest.raises(BadInputError, match="--hidden 'wide' is neither widths"):
            invoke("tune", folder, "--strategy", "maple", "--hidden", "wide")
        assert invoke("tune", folder, "--strategy", "lora").exit_code == 2

    def test_options_of_a_strategy_are_recorded(self, tiny_folder, folder, tmp_path):
        options = ["--strategy", "maple", "--hidden", "8", "--lora", "--unified", "--n", "2"]
        common = ("--base", tiny_folder, "--data-dir", tmp_path / "data")
        invoke("tune", folder, *SHORT, *options, *common, "--epochs", "1")
        version = tmp_path / "data" / "registry" / "toy" / "versions" / "v0001"
        config = json.loads((version / "adapter_config.json").read_text())
        given = {"hidden": 8, "lora": True, "unified": True}
        assert config["options"] == given | {"initial_phrase": None, "norm": True, "final_bias": True}


class TestEvaluateCommand:
    def test_compares_a_checkpoint_with_zero_shot(self, tiny_folder, folder, tmp_path):
        data_dir, out = tmp_path / "data", tmp_path / "reports" / "toy.json"
        invoke("tune", folder, *SHORT, "--base", tiny_folder, "--data-dir", data_dir)
        written = json.loads((data_dir / "registry/toy/versions/v0001/eval.json").read_text())
        common = ("evaluate", folder, "--base", tiny_folder, "--data-dir", data_dir)
        table = invoke(*common, "--checkpoint", "toy", "--out", out)
        assert "difference" in table.stdout
        report = json.loads(out.read_text())
        assert report["checkpoint"] == "toy/v0001"
        for key in ("zero_shot", "tuned", "difference", "images"):
            assert report[key] == written[key]
        printed = json.loads(invoke(*common, "--checkpoint", "toy@candidate", "--json").stdout)
        assert printed == report

    def test_without_a_checkpoint_measures_zero_shot(self, tiny_folder, folder, tmp_path):
        report = json.loads(invoke("evaluate", folder, "--base", tiny_folder, "--json").stdout)
        assert report["checkpoint"] is None
        assert "tuned" not in report

    def test_training_images_are_refused(self, tiny_folder, folder):
        with pytest.raises(BadInputError, match="--allow-training-images"):
            invoke("evaluate", folder, "--base", tiny_folder, "--split", "train")


class TestKilledRun:
    def test_a_killed_process_goes_on_and_ends_bitwise_where_an_uninterrupted_one_does(
        self, tiny_folder, folder, tmp_path
    ):
        command = [sys.executable, "-c", LAUNCH, str(folder), "--base", str(tiny_folder), "--epochs", "6"]
        command += ["--depth", "3", "--batch-size", "4", "--patience", "50", "--data-dir"]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}

        whole = subprocess.run(
            [*command, str(tmp_path / "whole")], env=environment, capture_output=True, check=False
        )
        assert whole.returncode == 0, whole.stderr.decode()

        log = tmp_path / "stderr.txt"
        with log.open("w") as errors:
            process = subprocess.Popen([*command, str(tmp_path / "cut")], env=environment, stderr=errors)
            try:
                kill_after_epoch(process, log, 2)
            finally:
                process.kill()
                process.wait()
        states = list((tmp_path / "cut" / "runs").glob(f"*/{STATE}"))
        assert len(states) == 1
        reached = torch.load(states[0], weights_only=True)["progress"]
        assert 2 <= reached["epoch"] < 6
        assert not (tmp_path / "cut" / "registry").exists()

        resumed = subprocess.run(
            [*command, str(tmp_path / "cut")], env=environment, capture_output=True, check=False
        )
        assert resumed.returncode == 0, resumed.stderr.decode()
        assert f"going on after epoch {reached['epoch']}" in resumed.stderr.decode()
        assert list((tmp_path / "cut" / "runs").iterdir()) == []

        weights = "registry/toy/versions/v0001/adapter_model.safetensors"
        expected, found = ((tmp_path / name / weights).read_bytes() for name in ("whole", "cut"))
        assert expected == found
        histories = [
            json.loads((tmp_path / name / "registry/toy/versions/v0001/eval.json").read_text())
            for name in ("whole", "cut")
        ]
        assert histories[0]["training"]["history"] == histories[1]["training"]["history"]
        assert len(histories[0]["training"]["history"]) == 6


def kill_after_epoch(process, log, epoch):
    """Send SIGKILL as soon as the process reports the end of an epoch."""
    deadline = time.monotonic() + DEADLINE
    while f"epoch {epoch:>3}:" not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, "the run reached no epoch in time"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
