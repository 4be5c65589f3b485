"""The absent decision is calibrated on held-out training images."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from toy_data import PHRASE, write_toy
from tuning_parts import CPU, toy_examples

from models_store.checkpoints import CheckpointConfig
from models_store.packs import ZERO_SHOT
from models_store.presence import SCORE, is_absent, presence_of
from models_store.vlsm import FrozenVLSM
from trainer.calibration import PER_IMAGE, absent_things, best_cut, calibrate, presence_cases
from trainer.data.examples import Examples
from trainer.evaluate import batched_logits
from trainer.tune import TuneSettings, tune

scores = st.lists(st.floats(0, 1, width=32), min_size=1, max_size=12).map(
    lambda values: np.array(values, np.float32)
)


def balanced(cut: float, present: np.ndarray, absent: list[np.ndarray]) -> float:
    return float(((present >= cut).mean() + np.mean([(kind < cut).mean() for kind in absent])) / 2)


class TestCut:
    @given(scores, st.lists(scores, min_size=1, max_size=3))
    @example(np.array([1e-45], np.float32), [np.array([0], np.float32)])
    @example(np.array([1], np.float32), [np.array([np.nextafter(np.float32(1), 0)], np.float32)])
    def test_no_other_cut_does_better(self, present: np.ndarray, absent: list[np.ndarray]) -> None:
        cut = best_cut(present, absent)
        assert 0 <= cut <= 1
        tried = np.concatenate([present, *absent, [0, 1]]).astype(np.float64)
        others = [*tried, *np.nextafter(tried, 2)]
        assert balanced(cut, present, absent) >= max(balanced(c, present, absent) for c in others) - 1e-9

    def test_between_two_groups_it_lies_in_the_middle(self) -> None:
        present, absent = np.array([0.7, 0.9], np.float32), np.array([0.1, 0.3], np.float32)
        assert best_cut(present, [absent]) == pytest.approx(0.5)

    def test_each_kind_of_absence_counts_alike(self) -> None:
        present = np.array([0.4, 0.4, 0.4, 0.6], np.float32)
        many, few = np.full(100, 0.5, np.float32), np.array([0.1], np.float32)
        assert best_cut(present, [many]) == pytest.approx(0.55)
        assert best_cut(present, [many, few]) == pytest.approx(0.25)


class TestScore:
    def test_the_most_probable_pixels_count(self) -> None:
        logits = torch.full((2, 1, 20, 20), -20.0)
        logits[0, 0, 3, 4:6] = 20.0
        found = presence_of(logits)
        assert found.tolist() == pytest.approx([1.0, 0.0], abs=1e-6)

    def test_one_pixel_of_noise_is_not_a_thing(self) -> None:
        logits = torch.full((1, 1, 100, 100), -20.0)
        logits[0, 0, 0, 0] = 20.0
        assert presence_of(logits).item() == pytest.approx(1 / 50)


@pytest.fixture
def examples(tmp_path: Path, tiny: FrozenVLSM) -> Examples:
    """Twelve images, three of which are empty."""
    folder = write_toy(tmp_path / "toy")
    for name in sorted((folder / "masks").glob("train_*"))[:3]:
        blank(name)
    return toy_examples(folder, tiny, "train")


def blank(path: Path) -> None:
    with Image.open(path) as mask:
        Image.new("L", mask.size).save(path)


class TestCases:
    def test_own_phrases_and_absent_things(self, examples: Examples) -> None:
        cases = presence_cases(examples, seed=1)
        assert sum(case.kind is None for case in cases) == 9
        assert sum(case.kind == "empty" for case in cases) == 3
        things = [case for case in cases if case.kind == "thing"]
        assert len(things) == 12 * PER_IMAGE
        assert {case.phrase for case in things} <= set(absent_things())
        assert all(case.phrase == PHRASE for case in cases if case.kind in (None, "empty"))

    def test_classes_that_an_image_lacks(self, examples: Examples) -> None:
        classes = ["sky", "road"]
        items = tuple(replace(item, class_name=classes[i % 2]) for i, item in enumerate(examples.items))
        phrases = tuple((item.class_name or "",) for item in items)
        cases = presence_cases(replace(examples, items=items, phrases=phrases), seed=1)
        lacking = [case for case in cases if case.kind == "class"]
        assert len(lacking) == 12
        assert all(case.phrase != items[case.row].class_name for case in lacking)

    def test_a_thing_named_by_the_dataset_is_not_asked_for(self, examples: Examples) -> None:
        named = replace(examples, phrases=(("the piano",),) * len(examples))
        assert "piano" not in {case.phrase for case in presence_cases(named, seed=1) if case.kind == "thing"}


class TestCalibration:
    def test_figures_are_those_of_the_cut(self, examples: Examples, tiny: FrozenVLSM) -> None:
        found = calibrate(tiny, ZERO_SHOT, examples, device=CPU, seed=1)
        assert found is not None
        assert found.score == SCORE
        assert (found.present, found.absent, found.images) == (9, {"empty": 3, "thing": 48}, 12)
        batches = batched_logits(tiny, ZERO_SHOT, examples, device=CPU, batch_size=5)
        presence = np.concatenate([presence_of(logits).numpy() for _, logits in batches])
        empty = np.array([not truth.unpack().any() for truth in examples.truths])
        assert found.sensitivity == pytest.approx((presence[~empty] >= found.cut).mean())
        assert found.specificities["empty"] == pytest.approx((presence[empty] < found.cut).mean())
        assert found.specificity == pytest.approx(sum(found.specificities.values()) / 2)
        assert [is_absent(each, found) for each in presence] == (presence < found.cut).tolist()

    def test_a_model_that_sees_what_is_there_is_told_apart(
        self, examples: Examples, tiny: FrozenVLSM, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def logits(vlsm, pack, asked, **_):
            there = [
                bool(truth.unpack().any()) and phrases == (PHRASE,)
                for truth, phrases in zip(asked.truths, asked.phrases, strict=True)
            ]
            values = torch.where(torch.tensor(there), 3.0, -3.0)[:, None, None, None]
            yield range(len(asked)), values.expand(-1, 1, 16, 16)

        monkeypatch.setattr("trainer.calibration.batched_logits", logits)
        found = calibrate(tiny, ZERO_SHOT, examples, device=CPU, seed=1)
        assert found is not None
        assert (found.sensitivity, found.specificity, found.cut) == (1.0, 1.0, pytest.approx(0.5))

    def test_too_few_cases_make_no_cut(self, examples: Examples, tiny: FrozenVLSM) -> None:
        few = examples.select([0, 1, 2, 3, 4, 5])
        assert calibrate(tiny, ZERO_SHOT, few, device=CPU, seed=1) is None

    def test_another_score_s_cut_is_not_used(self, examples: Examples, tiny: FrozenVLSM) -> None:
        found = calibrate(tiny, ZERO_SHOT, examples, device=CPU, seed=1)
        assert found is not None
        assert is_absent(0.0, found.model_copy(update={"score": "another"})) is None
        assert is_absent(0.0, None) is None


class TestTuning:
    @pytest.mark.parametrize("select_on", ["holdout", "val"])
    def test_it_is_stored_with_the_checkpoint_unless_no_image_was_held_out(
        self, tiny: FrozenVLSM, tmp_path: Path, select_on: str
    ) -> None:
        folder = write_toy(tmp_path / "toy", train=24)
        settings = TuneSettings(
            strategy="vpt", depth=1, n=1, epochs=1, min_epochs=1, min_steps=1, select_on=select_on
        )
        result = tune(folder, vlsm=tiny, data_dir=tmp_path / "data", settings=settings)
        written = json.loads((result.folder / "adapter_config.json").read_text())
        if select_on == "val":
            assert written["presence"] is None
            return
        assert written["presence"]["images"] == written["data"]["selection"]["images"] == 8
        assert (written["presence"]["present"], written["presence"]["absent"]) == (8, {"thing": 32})

    def test_a_configuration_from_before_reads_as_not_calibrated(
        self, tiny: FrozenVLSM, tmp_path: Path
    ) -> None:
        folder = write_toy(tmp_path / "toy", train=24)
        settings = TuneSettings(strategy="vpt", depth=1, n=1, epochs=1, min_epochs=1, min_steps=1)
        result = tune(folder, vlsm=tiny, data_dir=tmp_path / "data", settings=settings)
        written = json.loads((result.folder / "adapter_config.json").read_text())
        assert CheckpointConfig.model_validate(written).presence is not None
        del written["presence"]
        assert CheckpointConfig.model_validate(written).presence is None
