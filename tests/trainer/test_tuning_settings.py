import dataclasses

import pytest
import torch
from toy_data import edit_split, write_toy

from models_store.digests import file_digest
from models_store.errors import BadInputError, StudioError
from models_store.heads import HeadMode
from trainer.tuning.data import load_tuning_data, selection_note
from trainer.tuning.holdout import ONE_GROUP
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


class TestLoadTuningData:
    def test_val_is_reported_on_and_nothing_else(self, tiny, tmp_path):
        folder = write_toy(tmp_path / "toy", train=12, val=5)
        data = load_tuning_data(folder, tiny.spec, TuneSettings())
        names = [{i.name for i in part.items} for part in (data.train, data.select, data.report)]
        assert [len(n) for n in names] == [8, 4, 5]
        assert not names[0] & names[1]
        assert all(n.startswith("val") for n in names[2])
        assert all(n.startswith("train") for n in names[0] | names[1])

    def test_what_is_held_out_of_a_dataset_without_groups_never_changes(self, tiny, tmp_path):
        folder = write_toy(tmp_path / "toy", train=24, val=2)
        data = load_tuning_data(folder, tiny.spec, TuneSettings())
        held = [int(item.name.removeprefix("train_").removesuffix(".png")) for item in data.select.items]
        # Checkpoints were published with it.
        assert held == [2, 8, 13, 15, 16, 18, 19, 20]
        assert data.digests.keys() == {"train", "val"}
        assert not data.grouped
        # A group of one image is no more than the image.
        edit_split(folder, "train", lambda entries: [e.update(group=f"p{n}") for n, e in enumerate(entries)])
        again = load_tuning_data(folder, tiny.spec, TuneSettings())
        assert [item.name for item in again.select.items] == [item.name for item in data.select.items]
        assert again.digests == data.digests

    def test_images_of_one_patient_are_all_on_one_side(self, tiny, tmp_path):
        folder = write_toy(tmp_path / "toy", train=24, val=2)
        groups = [f"p{n // 3}" if n < 18 else None for n in range(24)]
        edit_split(folder, "train", lambda es: [e.update(group=g) for e, g in zip(es, groups, strict=True)])
        for seed in range(4):
            data = load_tuning_data(folder, tiny.spec, TuneSettings(seed=seed))
            train, held = ([item.group for item in part.items] for part in (data.train, data.select))
            assert len(held) == 8
            assert not (set(train) & set(held)) - {None}
            assert data.grouped
            assert ONE_GROUP not in data.warnings

    def test_a_table_says_what_belongs_together(self, tiny, tmp_path):
        folder = write_toy(tmp_path / "toy", train=12, val=2)
        before = load_tuning_data(folder, tiny.spec, TuneSettings())
        lines = [f"train_{n:02d},p{n // 4}" for n in range(12)]
        (folder / "groups.csv").write_text("\n".join(["image,group", *lines]))
        data = load_tuning_data(folder, tiny.spec, TuneSettings())
        assert (len(data.train), len(data.select)) == (8, 4)
        assert len({item.group for item in data.select.items}) == 1
        # Another split of the same images is another run.
        assert data.digests["train"] == before.digests["train"]
        assert TuneSettings().run_id(**data.digests) != TuneSettings().run_id(**before.digests)

    def test_one_group_in_all_is_parted_and_it_is_said(self, tiny, tmp_path):
        folder = write_toy(tmp_path / "toy", train=12, val=2)
        plain = load_tuning_data(folder, tiny.spec, TuneSettings())
        edit_split(folder, "train", lambda entries: [e.update(group="p") for e in entries])
        data = load_tuning_data(folder, tiny.spec, TuneSettings())
        assert data.warnings == (ONE_GROUP,)
        assert [item.name for item in data.select.items] == [item.name for item in plain.select.items]
        assert not data.grouped
        assert load_tuning_data(folder, tiny.spec, TuneSettings(select_on="val")).warnings == ()

    def test_a_held_out_image_of_a_patient_that_the_start_saw_counts_as_seen(self, tiny, tmp_path):
        folder = write_toy(tmp_path / "toy", train=12, val=2)
        edit_split(folder, "train", lambda es: [e.update(group=f"p{n // 4}") for n, e in enumerate(es)])
        saw = [file_digest(folder / "images" / f"train_{n:02d}.png") for n in (0, 4, 8)]
        data = load_tuning_data(folder, tiny.spec, TuneSettings(), seen=saw)
        assert data.seen == len(data.select) == 4
        assert "on 4 of the held-out images, or others of their groups" in selection_note(
            "holdout", data.seen, grouped=data.grouped
        )
        unseen = load_tuning_data(folder, tiny.spec, TuneSettings(), seen=saw[:2])
        assert {item.group for item in unseen.select.items} == {"p2"}
        assert unseen.seen == 0

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
