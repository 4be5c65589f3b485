import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from toy_data import PHRASE, write_toy
from typer import Typer
from typer.testing import CliRunner

from models_store.errors import BadInputError, DamagedError, UnknownNameError
from models_store.packs import ZERO_SHOT
from server.cli.simulate_labelling import simulate_labelling
from trainer.acquisition.measure import pooled_features
from trainer.acquisition.order import farthest_first
from trainer.acquisition.simulation.bench import load_bench
from trainer.acquisition.simulation.plan import Protocol
from trainer.acquisition.simulation.study import simulate
from trainer.acquisition.suggest import suggest
from trainer.evaluate import evaluate
from trainer.feature_cache import NO_CACHE

CPU = torch.device("cpu")
DEADLINE = 180.0
SHORT = Protocol(sizes=(3, 5, 7), pool=10, val=4, epochs=1, steps=2)
ORDERS = ("random", "uncertainty", "distance", "combined")
LAUNCH = (
    "import torch, typer; torch.set_num_threads(1); "
    "from server.cli.simulate_labelling import simulate_labelling; typer.run(simulate_labelling)"
)

app = Typer()
app.command()(simulate_labelling)


@pytest.fixture
def folder(tmp_path):
    return write_toy(tmp_path / "toy", train=12, val=4)


def run(folder, out, vlsm, **changes):
    given = {"protocol": SHORT, "orders": ORDERS, "seeds": (0,), "command": "the command", "ended": None}
    return simulate([folder], out, vlsm=vlsm, device=CPU, **(given | changes))


def without_clock(content):
    return {key: value for key, value in content.items() if key != "seconds"}


def told(results):
    """What every cell came to, by name."""
    return {
        cell.name: without_clock(content) for _, contents in results for cell, content in contents.items()
    }


class TestSimulation:
    def test_every_order_grows_from_the_same_labels_to_the_same_sizes(self, tiny, folder, tmp_path):
        [(plan, contents)] = run(folder, tmp_path / "out", tiny, seeds=(0, 1))
        # Zero-shot; and of each seed the whole pool, the start, and two sizes of four orders.
        assert len(contents) == 1 + 2 * (1 + 1 + 2 * 4)
        starts = []
        for seed in plan.seeds:
            for order in ORDERS:
                curve = [contents[cell] for cell in plan.curve(order, seed)]
                labelled = [content["labelled"] for content in curve]
                assert [len(set(images)) for images in labelled] == [3, 5, 7]
                assert labelled[1][:3] == labelled[0]
                assert labelled[2][:5] == labelled[1]
                starts.append((seed, tuple(labelled[0])))
            assert sorted(contents[plan.whole_pool(seed)]["labelled"]) == list(range(10))
        assert len(set(starts)) == 2

    def test_dice_is_that_of_an_evaluation_on_val(self, tiny, folder, tmp_path):
        [(plan, contents)] = run(folder, tmp_path / "out", tiny, orders=("random",))
        plain = evaluate(folder, vlsm=tiny, pack=ZERO_SHOT)
        zero = contents[plan.zero_shot()]
        assert [row["dice"] for row in zero["images"]] == plain.dice
        assert zero["dice"] == pytest.approx(np.mean(plain.dice))
        bench = load_bench(folder, tiny, SHORT, device=CPU, budget=NO_CACHE)
        last = contents[plan.curve("random", 0)[-1]]
        pack = bench.tuned(last["labelled"], 0)
        assert evaluate(folder, vlsm=tiny, pack=pack).dice == [row["dice"] for row in last["images"]]

    def test_an_order_is_asked_with_the_checkpoints_and_labels_of_the_moment(self, tiny, folder, tmp_path):
        [(plan, contents)] = run(folder, tmp_path / "out", tiny)
        bench = load_bench(folder, tiny, SHORT, device=CPU, budget=NO_CACHE)
        features = pooled_features(tiny, bench.pool_images, device=CPU)
        for at in (0, 1):
            have, want = (contents[plan.curve("distance", 0)[at + i]]["labelled"] for i in (0, 1))
            left = [i for i in range(10) if i not in have]
            picks = farthest_first(features[left], features[have], limit=2)
            assert want == have + [left[pick.index] for pick in picks]
        have, want = (contents[plan.curve("combined", 0)[i]]["labelled"] for i in (1, 2))
        given = bench.candidates(have, now=bench.tuned(have, 0), before=bench.tuned(have[:3], 0))
        assert want == have + [bench.left(have)[s.index] for s in suggest(given, "combined", limit=2)]
        assert {phrase for texts in given.phrases for phrase in texts} == {PHRASE}

    def test_val_chooses_nothing(self, tiny, folder, tmp_path):
        first = run(folder, tmp_path / "out", tiny)
        for path in (folder / "masks").glob("val_*"):
            mask = np.asarray(Image.open(path))
            Image.fromarray(255 - mask).save(path)
        second = run(folder, tmp_path / "other", tiny)
        [one, two] = [[c for c in told(each).values()] for each in (first, second)]
        assert [c["labelled"] for c in one] == [c["labelled"] for c in two]
        assert all(a["dice"] != b["dice"] for a, b in zip(one, two, strict=True))

    def test_the_same_again_is_the_same(self, tiny, folder, tmp_path):
        first, second = (run(folder, tmp_path / name, tiny) for name in ("one", "two"))
        assert told(first) == told(second)

    def test_more_sizes_seeds_and_orders_keep_what_is_finished(self, tiny, folder, tmp_path):
        shorter = replace(SHORT, sizes=(3, 5))
        run(folder, tmp_path / "out", tiny, protocol=shorter, orders=("random",))
        heard = []
        run(
            folder,
            tmp_path / "out",
            tiny,
            seeds=(0, 1),
            orders=("random", "distance"),
            ended=lambda cell, kept, _: heard.append((cell.order, cell.labels, cell.seed, kept)),
        )
        assert {key[:3] for key in heard if key[3]} == {
            ("zero-shot", 0, 0),
            ("all", 10, 0),
            ("start", 3, 0),
            ("random", 5, 0),
        }
        assert len(heard) == len(set(heard)) == 1 + 2 * (1 + 1 + 2 * 2)

    def test_other_settings_share_no_cell(self, tiny, folder, tmp_path):
        run(folder, tmp_path / "out", tiny, orders=("random",))
        kept = []
        for changed in (replace(SHORT, steps=3), replace(SHORT, pool=9)):
            run(
                folder,
                tmp_path / "out",
                tiny,
                protocol=changed,
                orders=("random",),
                ended=lambda _cell, was_there, _content: kept.append(was_there),
            )
        assert not any(kept)

    def test_a_damaged_cell_says_what_to_do(self, tiny, folder, tmp_path):
        run(folder, tmp_path / "out", tiny, orders=("random",))
        next((tmp_path / "out" / "cells").glob("toy-random-5-*")).write_text("{")
        with pytest.raises(DamagedError, match="delete it to measure anew"):
            run(folder, tmp_path / "out", tiny, orders=("random",))


class TestRefusals:
    @pytest.mark.parametrize(
        ("changes", "error", "message"),
        [
            ({"protocol": replace(SHORT, sizes=(5, 3))}, BadInputError, "sizes 5, 3 must be at least two"),
            ({"protocol": replace(SHORT, sizes=(1, 3))}, BadInputError, "a start of 1 labels is too small"),
            ({"protocol": replace(SHORT, sizes=(3, 10))}, BadInputError, "leave nothing to choose"),
            (
                {"protocol": replace(SHORT, pool=13)},
                BadInputError,
                "toy train has 12 images, fewer than the 13",
            ),
            ({"protocol": replace(SHORT, strategy="vpt")}, BadInputError, "it takes cocoop, coop"),
            ({"protocol": replace(SHORT, steps=0)}, BadInputError, "steps 0 must be at least 1"),
            ({"orders": ("best",)}, UnknownNameError, "no order 'best'"),
            ({"orders": ()}, BadInputError, "at least one order"),
        ],
    )
    def test_what_cannot_be_simulated_is_said(self, tiny, folder, tmp_path, changes, error, message):
        with pytest.raises(error, match=message):
            run(folder, tmp_path / "out", tiny, **changes)


def options(folder, out, base):
    short = "--sizes 3,5,7 --pool 10 --val 4 --epochs 1 --steps 2 --seeds 1 --orders random,combined"
    return [str(folder), "--out", str(out), "--base", str(base), *short.split()]


class TestCommand:
    def test_writes_table_cells_and_chart(self, tiny_folder, folder, tmp_path):
        result = CliRunner().invoke(app, options(folder, tmp_path / "out", tiny_folder))
        assert result.exit_code == 0, result.output
        assert "toy seed 0 combined 7 labels: Dice" in result.output
        assert "| combined | " in (tmp_path / "out" / "labelling.md").read_text()
        Image.open(tmp_path / "out" / "labelling.png").verify()
        assert len((tmp_path / "out" / "labelling.csv").read_text().splitlines()) == 1 + 1 + 6

    def test_sizes_that_are_no_numbers_are_refused(self, folder, tmp_path):
        with pytest.raises(BadInputError, match="'3,x' are not whole numbers"):
            CliRunner().invoke(
                app, [str(folder), "--out", str(tmp_path / "out"), "--sizes", "3,x"], catch_exceptions=False
            )

    def test_a_killed_simulation_goes_on_and_ends_the_same(self, tiny_folder, folder, tmp_path):
        whole, cut = tmp_path / "whole", tmp_path / "cut"
        assert CliRunner().invoke(app, options(folder, whole, tiny_folder)).exit_code == 0
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, *options(folder, cut, tiny_folder)],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        deadline = time.monotonic() + DEADLINE
        # In the middle of a curve: the checkpoints of its first sizes are gone with the process.
        while not list((cut / "cells").glob("toy-random-5-s0-*")):
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not (cut / "labelling.md").exists()
        left = {path: path.read_bytes() for path in (cut / "cells").glob("*.json")}
        assert CliRunner().invoke(app, options(folder, cut, tiny_folder)).exit_code == 0
        assert all(path.read_bytes() == content for path, content in left.items())
        cells = {path.name: path for path in (cut / "cells").glob("*.json")}
        assert cells.keys() == {path.name for path in (whole / "cells").glob("*.json")}
        for name, path in cells.items():
            other = json.loads((whole / "cells" / name).read_text())
            assert without_clock(json.loads(path.read_text())) == without_clock(other)
