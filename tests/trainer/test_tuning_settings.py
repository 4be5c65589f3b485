import dataclasses

import pytest
import torch
from toy_data import edit_split, write_toy

from models_store.errors import BadInputError, StudioError
from models_store.heads import HeadMode
from trainer.tuning.data import holdout_size, load_tuning_data, split_holdout
from trainer.tuning.learners import build_learner
from trainer.tuning.settings import TuneSettings


class TestTuneSettings:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"strategy": "lora"}, "no strategy 'lora'; there are"),
            ({"epochs": 0}, "epochs 0 must be at least 1"),
            ({"batch_size": 0}, "batch_size 0 must be at least 1"),
            ({"max_steps": 9}, "max_steps 9 must be at least min_steps, 10"),
            ({"limit": 0}, "limit 0 must be at least 1"),
            ({"lr": -1.0}, "lr -1.0 must be above 0"),
            ({"lr": float("nan")}, "lr nan must be above 0"),
            ({"weight_decay": -0.1}, "must not be negative"),
            ({"threshold": 7}, "threshold 7 is outside 0..1"),
            ({"initial_phrase": "a photo"}, "'vpt' takes no initial phrase"),
            ({"select_on": "test"}, "not one of holdout, val"),
        ],
    )
    def test_names_what_is_wrong(self, change, message):
        with pytest.raises(StudioError, match=message):
            TuneSettings(**change).check()

    def test_a_runs_name_follows_settings_base_and_data(self):
        plain = TuneSettings()
        name = plain.run_id(base="a", train="b")
        assert len(name) == 12
        assert plain.run_id(train="b", base="a") == name
        assert plain.run_id(base="x", train="b") != name
        assert dataclasses.replace(plain, seed=1).run_id(base="a", train="b") != name


class TestBuildLearner:
    def test_a_default_depth_is_cut_to_the_model_and_an_asked_one_is_not(self, tiny):
        _, options = build_learner(TuneSettings(), tiny)
        assert options["depth"] == tiny.spec.max_depth == 4
        with pytest.raises(BadInputError, match=r"depth 5 is outside 1\.\.4"):
            build_learner(TuneSettings(depth=5), tiny)

    def test_the_head_is_the_one_asked_for(self, tiny):
        assert build_learner(TuneSettings(strategy="coop", head=HeadMode.NONE), tiny)[0].head is None
        for strategy in ("coop", "vpt"):
            assert build_learner(TuneSettings(strategy=strategy), tiny)[0].head.mode is HeadMode.ADD
            mixed, _ = build_learner(TuneSettings(strategy=strategy, head=HeadMode.MIX), tiny)
            assert mixed.head.mode is HeadMode.MIX

    def test_an_initial_phrase_sets_the_number_of_tokens(self, tiny):
        settings = TuneSettings(strategy="coop", initial_phrase="ab c")
        learner, options = build_learner(settings, tiny)
        assert options["n"] == 3
        assert torch.equal(learner.context[0], tiny.embed_phrase("ab c"))


class TestSplitHoldout:
    @pytest.mark.parametrize(
        ("images", "held"), [(2, 1), (3, 1), (10, 3), (24, 8), (40, 8), (100, 15), (400, 60)]
    )
    def test_holds_out_fifteen_percent_but_eight_and_at_most_a_third(self, images, held):
        assert holdout_size(images) == held

    def test_parts_the_images_by_the_seed(self):
        training, held = split_holdout(40, seed=1)
        assert sorted(training + held) == list(range(40))
        assert split_holdout(40, seed=1) == (training, held)
        assert split_holdout(40, seed=2)[1] != held

    def test_one_image_cannot_be_parted(self):
        with pytest.raises(BadInputError, match="too few"):
            split_holdout(1, seed=1)


class TestLoadTuningData:
    def test_val_is_reported_on_and_nothing_else(self, tiny, tmp_path):
        folder = write_toy(tmp_path / "toy", train=12, val=5)
        data = load_tuning_data(folder, tiny.spec, TuneSettings())
        names = [{i.name for i in part.items} for part in (data.train, data.select, data.report)]
        assert [len(n) for n in names] == [8, 4, 5]
        assert not names[0] & names[1]
        assert all(n.startswith("val") for n in names[2])
        assert all(n.startswith("train") for n in names[0] | names[1])

    def test_selection_on_val_is_possible_and_trains_on_all_of_train(self, tiny, tmp_path):
        folder = write_toy(tmp_path / "toy", train=12, val=5)
        data = load_tuning_data(folder, tiny.spec, TuneSettings(select_on="val"))
        assert len(data.train) == 12
        assert data.select is data.report

    def test_a_limit_takes_some_images_by_the_seed(self, tiny, tmp_path):
        folder = write_toy(tmp_path / "toy", train=12, val=2)
        first, again, other = (
            load_tuning_data(folder, tiny.spec, TuneSettings(limit=6, seed=seed)) for seed in (1, 1, 2)
        )
        assert (len(first.train), len(first.select)) == (4, 2)
        assert first.digests == again.digests
        assert first.digests["train"] != other.digests["train"]
        assert first.digests["val"] == other.digests["val"]

    def test_an_image_in_both_splits_is_refused(self, tiny, tmp_path):
        folder = write_toy(tmp_path / "toy", train=4, val=2)
        edit_split(folder, "val", lambda e: e[0].update(img_name="train_01.png", mask_name="train_01.png"))
        with pytest.raises(BadInputError, match=r"the same image is in train \(train_01\.png\) and val"):
            load_tuning_data(folder, tiny.spec, TuneSettings())

    def test_says_how_much_is_read(self, tiny, tmp_path):
        folder = write_toy(tmp_path / "toy", train=3, val=2)
        told = []
        load_tuning_data(folder, tiny.spec, TuneSettings(), lambda *at: told.append(at))
        assert told == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]
