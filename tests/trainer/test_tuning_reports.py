import io

import numpy as np
import pytest
import torch
from PIL import Image
from toy_data import write_toy
from tuning_parts import CPU, toy_examples

from models_store.checkpoints import BaseIdentity, CheckpointConfig, NewCheckpoint, learner_tensors
from models_store.registry import CANDIDATE, CHAMPION, Registry
from models_store.strategies import make_learner
from trainer.evaluate import evaluate_examples
from trainer.tuning.figures import case_order, case_sheet, dice_plot, loss_plot
from trainer.tuning.publish import AUTHOR, publish
from trainer.tuning.state import EpochRecord

HISTORY = [EpochRecord(1, 0.9, 0.8, 0.3, 1e-2), EpochRecord(2, 0.5, 0.6, 0.55, 1e-2)]


def pixels(content):
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


def share_near(image, colour):
    return (np.abs(image - np.array(colour)).max(axis=2) < 40).mean()


class TestPlots:
    def test_are_pictures_that_follow_the_history(self):
        for plot in (loss_plot, dice_plot):
            picture = plot(HISTORY, 2)
            assert min(pixels(picture).shape[:2]) >= 300
            assert picture != plot([*HISTORY, EpochRecord(3, 0.1, 0.2, 0.9, 1e-2)], 2)


class TestCaseOrder:
    def test_names_the_best_and_the_worst_without_overlap(self):
        assert case_order([0.5, 0.9, 0.1, 0.7, 0.3], cases=2) == ([1, 3], [2, 4])
        assert case_order([0.5, 0.9, 0.1], cases=4) == ([1], [2])
        assert case_order([0.5]) == ([], [])


class TestCaseSheet:
    @pytest.mark.parametrize("count", [1, 3, 10])
    def test_draws_both_outlines(self, tiny, tmp_path, count):
        examples = toy_examples(write_toy(tmp_path / "toy", train=1, val=count), tiny, "val")
        pack = make_learner("vpt", tiny, depth=1).fold()
        result = evaluate_examples(tiny, pack, examples, device=CPU)
        sheet = pixels(case_sheet(tiny, pack, examples, result, device=CPU))
        if count > 1:
            assert share_near(sheet, (0x21, 0xC4, 0x5D)) > 1e-3
        assert sheet.shape[0] == 660

    def test_shows_empty_masks_and_strange_names(self, tiny, tmp_path):
        folder = write_toy(tmp_path / "toy", train=1, val=2)
        Image.new("L", (80, 72)).save(folder / "masks" / "val_00.png")
        examples = toy_examples(folder, tiny, "val")
        object.__setattr__(examples.items[0], "name", "cost_$5$_\\alpha.png")
        pack = make_learner("vpt", tiny, depth=1).fold()
        result = evaluate_examples(tiny, pack, examples, device=CPU, threshold=1.0)
        sheet = pixels(case_sheet(tiny, pack, examples, result, device=CPU))
        assert share_near(sheet, (0xFF, 0x2F, 0xB9)) == 0


def new_checkpoint(vlsm, run, seed=1):
    learner = make_learner("vpt", vlsm, depth=1, seed=seed)
    pack = learner.fold()
    config = CheckpointConfig(
        strategy="vpt",
        depth=1,
        n=4,
        head=pack.head_mode,
        base=BaseIdentity(name=vlsm.spec.name, digest=vlsm.spec.digest),
        preprocessing=vlsm.spec.preprocessing,
        threshold=0.5,
        labels=["x"],
        data={"run": run},
        seed=seed,
        pack_digest=pack.digest,
    )
    return NewCheckpoint(config, learner_tensors(learner), pack, {}, "card")


class TestPublish:
    def test_the_first_becomes_champion_and_later_ones_do_not(self, tiny, tmp_path):
        registry = Registry(tmp_path / "registry")
        first = publish(registry, "toy", new_checkpoint(tiny, "a"), run="a")
        second = publish(registry, "toy", new_checkpoint(tiny, "b", 2), run="b")
        assert (first.champion, second.champion) == (True, False)
        assert registry.aliases("toy") == {CANDIDATE: "v0002", CHAMPION: "v0001"}
        assert {move.author for move in registry.history("toy")} == {AUTHOR}

    def test_a_run_killed_between_writing_and_aliases_is_not_published_twice(self, tiny, tmp_path):
        registry = Registry(tmp_path / "registry")
        new = new_checkpoint(tiny, "a")
        registry.publish("toy", new)
        published = publish(registry, "toy", new, run="a")
        assert published.reference.version == "v0001"
        assert registry.versions("toy") == ["v0001"]
        assert registry.aliases("toy") == {CANDIDATE: "v0001", CHAMPION: "v0001"}

    def test_the_same_run_on_purpose_again_is_a_new_version(self, tiny, tmp_path):
        registry = Registry(tmp_path / "registry")
        for _ in range(2):
            publish(registry, "toy", new_checkpoint(tiny, "a"), run="a")
        assert registry.versions("toy") == ["v0001", "v0002"]

    def test_what_is_published_is_what_was_learned(self, tiny, tmp_path):
        registry = Registry(tmp_path / "registry")
        new = new_checkpoint(tiny, "a")
        read = registry.read(publish(registry, "toy", new, run="a").reference)
        assert read.pack.digest == new.pack.digest
        assert torch.equal(read.learner["context"], new.learner["context"])
