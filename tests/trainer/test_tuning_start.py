import dataclasses
import hashlib

import pytest
import torch
from tiny_models import tiny_config, write_base
from toy_data import write_toy

from models_store.bases import load_base
from models_store.errors import BadInputError, MismatchError, UnknownNameError
from models_store.registry import Registry
from trainer.data.folder import read_split
from trainer.tune import tune
from trainer.tuning.holdout import split_holdout
from trainer.tuning.learners import build_learner
from trainer.tuning.settings import TuneSettings
from trainer.tuning.start import TRAINING_IMAGES, WarmStart

SMALL = {"epochs": 1, "min_steps": 4, "batch_size": 4, "depth": 2, "n": 2, "lr": 1e-2}


def run(folder, vlsm, data_dir, warm_start=None, strategies=None, budget=None, **changes):
    settings = TuneSettings(**SMALL | changes)
    return tune(
        folder,
        vlsm=vlsm,
        data_dir=data_dir,
        settings=settings,
        warm_start=warm_start,
        strategies=strategies,
        budget=budget,
    )


@pytest.fixture
def first(tiny, tmp_path):
    """A champion tuned on another dataset's images, and its registry's folder."""
    run(write_toy(tmp_path / "first", train=12, val=3, seed=9), tiny, tmp_path / "data")
    return tmp_path / "data"


class TestWarmStart:
    def test_goes_on_from_the_champions_values_and_records_it(self, tiny, first, tmp_path):
        folder = write_toy(tmp_path / "toy", train=12, val=5)
        result = run(folder, tiny, first, "first@champion", depth=None, n=None, lr=1e-9)
        champion = Registry(first / "registry").read(Registry(first / "registry").resolve("first"))
        # At so low a rate nothing moves: what comes out is what went in.
        assert torch.allclose(result.pack.visual, champion.pack.visual, atol=1e-6)
        assert (result.config.depth, result.config.n) == (2, 2)
        assert result.config.data["warm_start"] == {
            "checkpoint": "first/v0001",
            "pack_digest": champion.config.pack_digest,
            "training_images_known": True,
            "selection_images_seen": 0,
        }
        assert "going on from first/v0001" in (result.folder / "README.md").read_text()

    @pytest.mark.parametrize("strategy", ["coop", "maple"])
    def test_other_strategies_and_their_options_follow_the_checkpoint(self, tiny, tmp_path, strategy):
        folder = write_toy(tmp_path / "toy", train=12, val=3)
        options = {"hidden": 8, "lora": True} if strategy == "maple" else {}
        first = run(folder, tiny, tmp_path / "data", strategy=strategy, options=options)
        warm = run(folder, tiny, tmp_path / "data", "toy", strategy=strategy, depth=None, n=None, lr=1e-9)
        assert torch.allclose(warm.pack.text, first.pack.text, atol=1e-6)
        assert warm.config.options == first.config.options
        if strategy == "maple":
            with pytest.raises(MismatchError, match="toy/v0001 has hidden 8, not 16"):
                run(folder, tiny, tmp_path / "data", "toy", strategy=strategy, options={"hidden": 16})

    def test_keeps_what_it_started_with_where_tuning_makes_it_worse(self, tiny, first, tmp_path):
        folder = write_toy(tmp_path / "toy", train=12, val=5)
        best = run(folder, tiny, first, epochs=6)
        spoiled = run(folder, tiny, first, str(best.published.reference), lr=100.0, seed=3)
        assert spoiled.report["training"]["best_epoch"] == 0
        assert spoiled.config.pack_digest == best.config.pack_digest

    def test_the_images_that_moved_its_values_are_listed_with_those_before(self, tiny, first, tmp_path):
        folder = write_toy(tmp_path / "toy", train=12, val=5)
        result = run(folder, tiny, first, "first")
        of_start = Registry(first / "registry").read(Registry(first / "registry").resolve("first")).folder
        before = set((of_start / TRAINING_IMAGES).read_text().split())
        listed = set((result.folder / TRAINING_IMAGES).read_text().split())
        own = {
            hashlib.sha256(item.image_path.read_bytes()).hexdigest() for item in read_split(folder, "train")
        }
        assert len(before) == 8
        assert before < listed
        assert len(listed - before) == 8
        assert listed - before < own

    def test_in_a_list_its_strategy_comes_first_and_others_start_anew(self, tiny, first, tmp_path):
        folder = write_toy(tmp_path / "toy", train=12, val=5)
        result = run(folder, tiny, first, "first", strategies=("coop",), budget=1e-3)
        assert [(a.strategy, a.warm, a.outcome) for a in result.attempts] == [
            ("vpt", True, "tried"),
            ("coop", False, "skipped"),
        ]


class TestSeenImages:
    def test_what_the_start_was_tuned_on_is_held_out_last(self):
        _, held = split_holdout(30, 5)
        assert split_holdout(30, 5, seen=()) == split_holdout(30, 5)
        _, unseen = split_holdout(30, 5, seen=held)
        assert len(unseen) == len(held)
        assert not set(unseen) & set(held)
        _, forced = split_holdout(30, 5, seen=range(28))
        assert {28, 29} < set(forced)

    def test_a_grown_dataset_selects_on_images_its_champion_never_trained_on(self, tiny, tmp_path):
        folder = write_toy(tmp_path / "toy", train=24, val=4)
        run(folder, tiny, tmp_path / "data", limit=10)
        result = run(folder, tiny, tmp_path / "data", "toy")
        assert result.config.data["warm_start"]["selection_images_seen"] == 0
        assert result.config.data["selection"]["images"] == 8

    def test_too_few_unseen_images_are_told(self, tiny, tmp_path):
        folder = write_toy(tmp_path / "toy", train=9, val=4)
        run(folder, tiny, tmp_path / "data", seed=1)
        result = run(folder, tiny, tmp_path / "data", "toy", seed=2, limit=8)
        seen = result.config.data["warm_start"]["selection_images_seen"]
        assert 0 <= seen <= 2
        assert ("had been tuned on" in result.report["selection"]["note"]) == (seen > 0)

    def test_a_start_that_was_tuned_on_images_of_val_is_refused(self, tiny, tmp_path):
        folder = write_toy(tmp_path / "toy", train=9, val=4)
        run(folder, tiny, tmp_path / "data")
        train, val = folder / "anns" / "train.json", folder / "anns" / "val.json"
        was = train.read_text()
        train.write_text(val.read_text())
        val.write_text(was)
        with pytest.raises(BadInputError, match="was tuned on 6 of the 9 images of 'val'"):
            run(folder, tiny, tmp_path / "data", "toy")


class TestRefusals:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"strategy": "coop"}, "first/v0001 was tuned with vpt; its values fit no coop"),
            ({"depth": 3}, "first/v0001 has depth 2, not 3"),
            ({"n": 4}, "first/v0001 has n 2, not 4"),
        ],
    )
    def test_another_strategy_or_shape(self, tiny, first, tmp_path, changes, message):
        with pytest.raises(MismatchError, match=message):
            run(write_toy(tmp_path / "toy", train=6, val=3), tiny, first, "first", **changes)

    def test_another_base_and_what_is_not_there(self, tiny, first, tmp_path):
        folder = write_toy(tmp_path / "toy", train=6, val=3)
        other = load_base(str(write_base(tmp_path / "other", tiny_config(), seed=1)))
        with pytest.raises(MismatchError, match="was made for base"):
            run(folder, other, first, "first")
        with pytest.raises(UnknownNameError, match="no dataset 'nowhere'"):
            run(folder, tiny, first, "nowhere")

    def test_values_of_other_shapes(self, tiny, first):
        registry = Registry(first / "registry")
        start = WarmStart.open(registry, "first", tiny.spec)
        learner = {**start.checkpoint.learner, "context": torch.zeros(1)}
        broken = dataclasses.replace(start, checkpoint=dataclasses.replace(start.checkpoint, learner=learner))

        fresh, _ = build_learner(start.fitted(TuneSettings()), tiny)
        with pytest.raises(MismatchError, match=r"values of first/v0001 do not fit \(context: "):
            broken.load_into(fresh)
