import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from benchmark_parts import SHORT, damage, small_benchmark, without_clock, write_root
from cris_parts import tiny_cris
from data_files import write_indices
from PIL import Image

from models_store.packs import ZERO_SHOT
from trainer.benchmark.measure import CellWatch
from trainer.benchmark.run import BenchmarkWatch, unfinished
from trainer.evaluate import evaluate

FILES = ["benchmark.csv", "benchmark.md", "benchmark.png"]
HOLDER = """
import sys
from fcntl import LOCK_EX, flock
with open(sys.argv[1], "a") as handle:
    flock(handle, LOCK_EX)
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def root(tmp_path):
    return write_root(tmp_path / "data")


class Told(list):
    """What became of each cell, in order."""

    def watch(self, begun=None):
        return BenchmarkWatch(
            begun=begun, ended=lambda cell, what, _content: self.append((cell.method, what))
        )


class TestRun:
    def test_fills_every_cell_and_writes_the_table(self, tiny, root, tmp_path):
        told = Told()
        benchmark = small_benchmark(
            root, tmp_path / "out", [tiny], baselines=["zero-shot", "decoder"], watch=told.watch()
        )
        benchmark.run()
        assert told == [("zero-shot", "done"), ("decoder", "done"), ("vpt", "done")]
        zero, decoder, vpt = (benchmark.store.read(cell) for cell in benchmark.cells)
        plain = evaluate(root / "one", vlsm=tiny, pack=ZERO_SHOT)
        assert [row["dice"] for row in zero["images"]] == plain.dice
        assert zero["figures"] == plain.summary()
        assert (zero["learnable"], zero["difference"], zero["chosen"]) == (0, None, None)
        parameters = sum(p.numel() for p in tiny.network.decoder.parameters())
        assert 0 < decoder["learnable"] <= parameters
        for content in (decoder, vpt):
            assert content["difference"]["dice"]["mean"] == pytest.approx(
                content["figures"]["dice"]["mean"] - zero["figures"]["dice"]["mean"]
            )
            assert content["sensitivity"]["images"] == 2
            assert content["images_used"] | {"train": 4, "select": 2, "val": 3} == content["images_used"]
            assert content["chosen"]["epochs"] == 1
        assert sorted(p.name for p in (tmp_path / "out").iterdir() if p.is_file()) == FILES
        Image.open(tmp_path / "out" / "benchmark.png").verify()
        assert not list((tmp_path / "out" / "runs").iterdir())

    def test_again_keeps_what_is_finished_and_measures_what_is_new(self, tiny, root, tmp_path):
        small_benchmark(root, tmp_path / "out", [tiny]).run()
        files = {p: p.read_bytes() for p in (tmp_path / "out" / "cells").iterdir()}
        told = Told()
        small_benchmark(root, tmp_path / "out", [tiny], combinations="vpt,coop", watch=told.watch()).run()
        assert told == [("zero-shot", "kept"), ("vpt", "kept"), ("coop", "done")]
        assert all(path.read_bytes() == content for path, content in files.items())

    def test_the_try_that_did_best_on_held_out_images_is_reported(self, tiny, root, tmp_path):
        protocol = type(SHORT)(**{**vars(SHORT), "trials": 3, "sensitivity_images": 0})
        benchmark = small_benchmark(root, tmp_path / "out", [tiny], protocol=protocol)
        benchmark.run()
        content = benchmark.store.read(benchmark.cells[1])
        assert len(content["trials"]) == 3
        best = max(trial["select_dice"] for trial in content["trials"])
        assert content["chosen"]["select_dice"] == best
        assert content["sensitivity"] is None

    def test_a_cris_is_measured_on_its_text_prompts(self, root, tmp_path):
        told = Told()
        small_benchmark(
            root,
            tmp_path / "out",
            [tiny_cris()],
            combinations="all",
            baselines=["zero-shot", "end-to-end"],
            watch=told.watch(),
        ).run()
        assert told == [(m, "done") for m in ("zero-shot", "end-to-end", "coop", "cocoop")]

    def test_several_classes_have_figures_apart(self, tiny, tmp_path):
        folder = write_indices(tmp_path / "data" / "one")
        # A second training image, to hold one out; and both classes in val.
        for part in ("images", "masks"):
            kept = folder / part / "train.png"
            Image.open(kept).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(kept.with_name("flipped.png"))
        names = ["train.png", "flipped.png"]
        entries = [{"img_name": name, "mask_name": name} for name in names]
        (folder / "anns" / "train.json").write_text(json.dumps(entries))
        shutil.copy(folder / "masks" / "train.png", folder / "masks" / "val.png")
        benchmark = small_benchmark(tmp_path / "data", tmp_path / "out", [tiny])
        benchmark.run()
        for content in map(benchmark.store.read, benchmark.cells):
            assert content["status"] == "done", content
            used = content["images_used"]
            assert (used["train"], used["select"], used["val"], used["val_rows"]) == (1, 1, 1, 2)
            assert [row["phrase"] for row in content["by_phrase"]] == ["road", "traffic sign"]
            assert content["multiclass"]["images"] == 1
        text = (tmp_path / "out" / "benchmark.md").read_text()
        assert "| traffic sign | 1 |" in text
        assert "2 masks" in text


class TestTrouble:
    def test_a_cell_that_fails_stops_no_other_and_is_tried_again(self, tiny, tmp_path):
        root = write_root(tmp_path / "data", ["bad", "good"])
        kept = damage(root / "bad")
        benchmark = small_benchmark(root, tmp_path / "out", [tiny], datasets=["bad", "good"])
        benchmark.run()
        status = [benchmark.store.read(cell)["status"] for cell in benchmark.cells]
        assert status == ["failed", "failed", "done", "done"]
        assert "no split 'val'" in benchmark.store.read(benchmark.cells[0])["error"]
        assert "zero-shot" in benchmark.store.read(benchmark.cells[1])["error"]
        assert "failed: " in (tmp_path / "out" / "benchmark.md").read_text()
        assert [c.dataset for c in unfinished(benchmark.store.contents(benchmark.cells))] == ["bad", "bad"]
        kept.replace(root / "bad" / "anns" / "val.json")
        benchmark.run()
        assert not list(unfinished(benchmark.store.contents(benchmark.cells)))

    def test_a_stopped_cell_goes_on_where_it_was_and_ends_the_same(self, tiny, root, tmp_path):
        whole = small_benchmark(root, tmp_path / "whole", [tiny])
        whole.run()

        def interrupt(tick):
            if tick.step == 10:
                raise KeyboardInterrupt

        def begun(_cell):
            return CellWatch(training=interrupt)

        stopped = small_benchmark(root, tmp_path / "out", [tiny], watch=BenchmarkWatch(begun=begun))
        with pytest.raises(KeyboardInterrupt):
            stopped.run()
        assert stopped.store.read(stopped.cells[0])["status"] == "done"
        assert stopped.store.read(stopped.cells[1]) is None
        steps = []
        again = small_benchmark(
            root,
            tmp_path / "out",
            [tiny],
            watch=BenchmarkWatch(begun=lambda _: CellWatch(training=lambda tick: steps.append(tick.step))),
        )
        again.run()
        for cell in whole.cells:
            assert without_clock(again.store.read(cell)) == without_clock(whole.store.read(cell))

    def test_a_cell_another_process_holds_is_left_to_it(self, tiny, root, tmp_path):
        told = Told()
        benchmark = small_benchmark(
            root, tmp_path / "out", [tiny], combinations="vpt,coop", watch=told.watch()
        )
        lock = tmp_path / "out" / "locks" / benchmark.cells[1].name
        with subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(lock)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as holder:
            assert holder.stdout.readline() == "held\n"
            benchmark.run()
            assert dict(told)[benchmark.cells[1].method] == "elsewhere"
            assert "1 of 3" not in (tmp_path / "out" / "benchmark.md").read_text()
            assert "2 of 3 cells are finished" in (tmp_path / "out" / "benchmark.md").read_text()
            holder.stdin.close()
        benchmark.run()
        assert "3 of 3 cells are finished" in Path(tmp_path / "out" / "benchmark.md").read_text()
