import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import optuna
import pytest
from toy_data import write_toy

from models_store.errors import BadInputError, UnknownNameError
from trainer.search.spaces import distribution, space_of, with_values
from trainer.search.study import SharedStudy, search
from trainer.tuning.settings import TuneSettings

DEADLINE = 240.0
SPACE = {"lr": optuna.distributions.FloatDistribution(1e-5, 1e-2, log=True)}
# A worker that says which trial it has and, if told to, waits to be killed.
WORKER = """
import json, pathlib, signal, sys
import optuna
from trainer.search.study import SharedStudy
folder, trials, wait = pathlib.Path(sys.argv[1]), int(sys.argv[2]), len(sys.argv) > 3
study = SharedStudy(folder, name="s", trials=trials, random_first=3, seed=5,
    space={"lr": optuna.distributions.FloatDistribution(1e-5, 1e-2, log=True)})
done = []
while (trial := study.ask()) is not None:
    print(json.dumps(trial.params), flush=True)
    if wait:
        signal.pause()
    study.tell(trial, abs(trial.params["lr"] - 1e-3), 0.5)
study.close()
"""


def study(folder, trials=4, **changes):
    options = {"name": "s", "space": SPACE, "random_first": 3, "seed": 5} | changes
    return SharedStudy(folder, trials=trials, **options)


def values_of(folder, trials):
    shared, drawn = study(folder, trials), []
    while (trial := shared.ask()) is not None:
        drawn.append(trial.params["lr"])
        shared.tell(trial, abs(trial.params["lr"] - 1e-3), 0.5)
    shared.close()
    return drawn


class TestSpaces:
    def test_are_the_benchmarks_with_the_width_a_range(self, tiny):
        spec = replace(tiny.spec, text_layers=12, vision_layers=12)
        space = space_of("cocoop", spec)
        assert space["depth"] == {"low": 1, "high": 11}
        hidden = distribution("hidden", space["hidden"])
        assert [v for v in range(1, 200) if hidden._contains(v)] == [32, 64, 96, 128]
        assert distribution("lora", space["lora"]).choices == (False, True)
        assert space_of("coop", spec).keys() == {"lr", "weight_decay", "depth"}

    def test_end_with_the_models_layers_and_take_heads_that_divide_it(self, tiny):
        assert space_of("vpt", tiny.spec)["depth"]["high"] == tiny.spec.max_depth == 4
        assert space_of("shared_attention", tiny.spec)["heads"] == {"choices": [16, 20]}

    def test_may_be_changed_but_only_where_there_is_something_to_change(self, tiny):
        space = space_of("vpt", tiny.spec, {"lr": None, "n": {"choices": [2, 4]}})
        assert space.keys() == {"weight_decay", "depth", "n"}
        with pytest.raises(UnknownNameError, match="vpt has no 'hidden' to search; there are lr"):
            space_of("vpt", tiny.spec, {"hidden": {"choices": [1]}})
        with pytest.raises(BadInputError, match="the space of lr is"):
            distribution("lr", {"from": 1})

    def test_values_land_in_settings_and_options(self):
        tried = with_values(TuneSettings(strategy="maple"), {"lr": 1e-3, "depth": 2, "hidden": 32})
        assert (tried.lr, tried.depth, tried.options) == (1e-3, 2, {"hidden": 32})
        tried.check()


class TestSharedStudy:
    def test_the_same_seed_draws_the_same_also_when_stopped_between(self, tmp_path):
        whole = values_of(tmp_path / "whole", 6)
        first = values_of(tmp_path / "parts", 2)
        assert first + values_of(tmp_path / "parts", 6) == whole
        assert len(set(whole)) == 6
        assert values_of(tmp_path / "whole", 6) == []

    def test_a_trial_without_result_counts_and_says_why(self, tmp_path):
        shared = study(tmp_path, trials=1)
        shared.give_up(shared.ask(), "the loss is nan")
        assert shared.ask() is None
        result = shared.result()
        assert (result.trials, result.failed) == (0, 1)
        assert "no complete trial, 1 without result" in result.text()
        shared.close()

    def test_two_processes_share_the_trials_and_retry_those_of_a_killed_one(self, tmp_path):
        def start(*more):
            command = [sys.executable, "-c", WORKER, str(tmp_path), "7", *more]
            environment = os.environ | {"OMP_NUM_THREADS": "1"}
            return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

        killed = start("wait")
        lost = json.loads(killed.stdout.readline())
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
        workers = [start(), start()]
        drawn = []
        deadline = time.monotonic() + DEADLINE
        for worker in workers:
            printed, _ = worker.communicate(timeout=max(1.0, deadline - time.monotonic()))
            assert worker.returncode == 0
            drawn += [json.loads(line)["lr"] for line in printed.splitlines()]
        assert len(drawn) == 7
        assert lost["lr"] in drawn
        shared = study(tmp_path, trials=7)
        assert shared.ask() is None
        assert shared.result().trials == 7
        assert shared.result().loss == min(abs(lr - 1e-3) for lr in drawn)
        shared.close()


class TestSearch:
    def test_tries_settings_on_held_out_training_images(self, tiny, tmp_path):
        folder = write_toy(tmp_path / "toy", train=6, val=2)
        settings = TuneSettings(epochs=1, min_steps=1, batch_size=4, n=2, augment=False)
        common = {"vlsm": tiny, "settings": settings, "state": tmp_path / "state", "seed": 3}
        told = []
        result = search(folder, trials=2, watch=told.append, **common)
        assert [at.trials for at in told] == [1, 2]
        assert (result.trials, result.failed) == (2, 0)
        assert result.values.keys() == {"lr", "weight_decay", "depth"}
        assert search(folder, trials=3, **common).trials == 3
        assert [p for p in result.folder.iterdir() if p.name.startswith("trial-")] == []
