import hashlib

import pytest
import torch
from gate_parts import rows_of
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_data import edit_split, write_toy
from tuning_parts import CPU, toy_examples

from models_store.packs import ZERO_SHOT
from models_store.strategies import make_learner
from trainer.gate.crossval import TrainingPart, fold_of_units, seen_rows
from trainer.gate.gate import judge_candidate
from trainer.gate.measure import Contender, units_of
from trainer.gate.recipe import TuningRecipe
from trainer.gate.record import Outcome, Verdict
from trainer.gate.rule import PromotionRule
from trainer.tuning.holdout import split_holdout
from trainer.tuning.settings import TuneSettings

RULE = PromotionRule(least_val_units=20, least_training_units=8, folds=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_toy(tmp_path_factory.mktemp("gate") / "toy", train=12, val=4)


class Recipe:
    """Follows no recipe, but notes what it was shown."""

    def __init__(self, pack):
        self.pack, self.shown = pack, []

    def __call__(self, train, fold):
        self.shown.append({item.name for item in train.items})
        return Contender(self.pack, 0.5)


@pytest.fixture(scope="module")
def packs(tiny_hybrid):
    return [make_learner("vpt", tiny_hybrid, depth=1, n=2, seed=seed).fold() for seed in (1, 2)]


@pytest.fixture
def judge(tiny_hybrid, folder, packs):
    """Judges the first pack, of whose toy only four images are for validation; gives the recipe too."""

    def run(*, champion=None, champion_saw=None, start_saw=frozenset(), rule=RULE, groups=None):
        train, val = (toy_examples(folder, tiny_hybrid, split) for split in ("train", "val"))
        recipe = Recipe(packs[0])
        units = units_of(train, groups)
        judged = judge_candidate(
            tiny_hybrid,
            Contender(packs[0]),
            val,
            rule=rule,
            device=CPU,
            champion=champion,
            champion_saw=champion_saw,
            units=units_of(val, None),
            training=lambda: TrainingPart(train, units, recipe, start_saw),
            sensitivity=False,
        )
        return judged, recipe

    return run


class TestFolds:
    @given(st.lists(st.integers(0, 8), min_size=4, max_size=30), st.integers(2, 6), st.integers(0, 100))
    @settings(max_examples=50, deadline=None)
    def test_every_unit_is_in_one_fold_and_folds_are_even(self, groups, folds, seed):
        units = [f"g{group}" for group in groups]
        examples = rows_of([None] * len(units), empty=[group % 3 == 0 for group in groups])
        found = fold_of_units(examples, units, folds, seed=seed)
        assert set(found) == set(units)
        sizes = [list(found.values()).count(fold) for fold in set(found.values())]
        assert max(sizes) - min(sizes) <= 1
        assert found == fold_of_units(examples, units, folds, seed=seed)

    def test_empty_images_are_spread_over_folds(self):
        examples = rows_of([None] * 20, empty=[i < 5 for i in range(20)])
        units = [str(i) for i in range(20)]
        found = fold_of_units(examples, units, 5, seed=3)
        assert {found[str(i)] for i in range(5)} == set(range(5))


class TestCrossValidation:
    def test_no_fold_is_measured_by_what_was_tuned_on_it(self, judge):
        judged, recipe = judge()
        assert judged.record.route.kind == "cross-validation"
        assert judged.record.route.folds == len(recipe.shown) == 4
        assert "has 4 images to compare on, 20 are asked for" in judged.record.route.reason
        measured = [item.name for part in judged.parts for item in part.examples.items]
        assert len(measured) == len(set(measured)) == 12
        for part, shown in zip(judged.parts, recipe.shown, strict=True):
            assert not shown & {item.name for item in part.examples.items}

    def test_groups_stay_together(self, judge):
        judged, recipe = judge(
            groups=[f"p{i // 3}" for i in range(12)], rule=RULE.model_copy(update={"least_training_units": 4})
        )
        for part, shown in zip(judged.parts, recipe.shown, strict=True):
            held = {item.name for item in part.examples.items}
            assert len(held) == 3
            assert len(shown) == 9

    def test_the_champion_is_measured_only_on_images_new_to_it(self, judge, folder, packs):
        names = [f"train_{i:02d}.png" for i in range(3)]
        seen = {hashlib.sha256((folder / "images" / name).read_bytes()).hexdigest() for name in names}
        judged, _ = judge(champion=Contender(packs[1]), champion_saw=frozenset(seen))
        on = {i.name for p in judged.parts if "champion" in p.results for i in p.examples.items}
        assert on == {f"train_{i:02d}.png" for i in range(3, 12)}
        assert judged.record.against == "champion"
        assert judged.record.route.champion_units == 9
        assert judged.record.comparisons["zero_shot"].dice.difference.units == 12

    def test_a_champion_of_unknown_images_is_not_measured_and_stays(self, judge, packs):
        judged, _ = judge(champion=Contender(packs[1]))
        assert not any("champion" in part.results for part in judged.parts)
        assert judged.record.against == "zero_shot"
        assert judged.record.verdict is not Verdict.PROMOTE
        evidence = next(c for c in judged.record.clauses if c.name == "evidence")
        assert evidence.outcome is Outcome.UNDECIDED
        assert "is not known" in judged.record.route.reason

    def test_what_a_warm_start_saw_is_not_measured_on(self, judge):
        judged, _ = judge(start_saw=frozenset({"train_00.png", "train_01.png"}))
        measured = {item.name for part in judged.parts for item in part.examples.items}
        assert measured == {f"train_{i:02d}.png" for i in range(2, 12)}

    def test_other_images_of_a_patient_that_was_seen_are_not_new(self, judge, packs):
        rule = RULE.model_copy(update={"least_training_units": 4})
        options = {"rule": rule, "groups": [f"p{i // 2}" for i in range(12)]}
        judged, _ = judge(start_saw=frozenset({"train_00.png", "train_05.png"}), **options)
        measured = {item.name for part in judged.parts for item in part.examples.items}
        assert measured == {f"train_{i:02d}.png" for i in range(12)} - {
            f"train_{i:02d}.png" for i in (0, 1, 4, 5)
        }
        judged, _ = judge(champion=Contender(packs[1]), champion_saw=frozenset({"train_00.png"}), **options)
        on = {i.name for p in judged.parts if "champion" in p.results for i in p.examples.items}
        assert on == {f"train_{i:02d}.png" for i in range(2, 12)}

    def test_too_few_training_images_decide_nothing_and_tune_nothing(self, judge):
        judged, recipe = judge(rule=RULE.model_copy(update={"least_training_units": 13}))
        assert not recipe.shown
        assert judged.record.route.kind == "val"
        assert judged.record.verdict is Verdict.KEEP
        assert "too few to cross-validate on" in judged.record.route.reason


class TestRecipe:
    def test_tunes_by_settings_and_gives_the_same_again(self, tiny_hybrid, folder, tmp_path):
        train = toy_examples(folder, tiny_hybrid, "train")
        settings = TuneSettings(epochs=1, min_epochs=1, min_steps=2, depth=1, n=2, batch_size=4)
        recipe = TuningRecipe(tiny_hybrid, settings, CPU, scratch=tmp_path)
        first, again = (recipe(train, 0).pack.digest for _ in range(2))
        assert first == again
        assert recipe(train.select(range(8)), 0).pack.digest != first
        assert not list(tmp_path.iterdir())

    def test_the_images_that_choose_the_epoch_are_of_other_patients(self, tiny_hybrid, tmp_path):
        folder = write_toy(tmp_path / "toy", train=12, val=2)
        settings = TuneSettings(epochs=2, min_epochs=1, min_steps=4, depth=1, n=2, batch_size=4)
        recipe = TuningRecipe(tiny_hybrid, settings, CPU)
        # Whole groups of four are the choice by image only where a draw happens to be one of them.
        by_image = recipe(toy_examples(folder, tiny_hybrid, "train"), 0).pack.digest
        edit_split(
            folder, "train", lambda entries: [e.update(group=f"p{n % 3}") for n, e in enumerate(entries)]
        )
        grouped = toy_examples(folder, tiny_hybrid, "train")
        _, held = split_holdout(12, settings.seed, groups=grouped.image_groups())
        assert held == [n for n in range(12) if n % 3 == held[0]]
        assert held != split_holdout(12, settings.seed)[1]
        assert recipe(grouped, 0).pack.digest != by_image

    def test_one_image_is_too_few(self, tiny_hybrid, folder):
        train = toy_examples(folder, tiny_hybrid, "train").select([0])
        with pytest.raises(Exception, match="use fewer folds"):
            TuningRecipe(tiny_hybrid, TuneSettings(), CPU)(train, 1)


class TestUnits:
    def test_rows_of_one_image_are_one_unit(self):
        assert units_of(rows_of(["a", "b", "a"], images=[0, 0, 1]), None) == ("image 0", "image 0", "image 1")

    def test_an_image_of_two_groups_is_refused(self):
        with pytest.raises(ValueError, match="of several groups"):
            units_of(rows_of(["a", "b"], images=[0, 0]), ["p", "q"])

    def test_images_are_known_by_name_or_digest(self, tiny_hybrid, folder):
        train = toy_examples(folder, tiny_hybrid, "train")
        digest = hashlib.sha256((folder / "images" / "train_03.png").read_bytes()).hexdigest()
        alone, pairs = units_of(train, None), [f"p{n // 2}" for n in range(12)]
        assert seen_rows(train, alone, {"train_01.png", digest}) == {1, 3}
        assert seen_rows(train, pairs, {"train_01.png", digest}) == {0, 1, 2, 3}
        assert seen_rows(train, alone, ()) == set()


def test_the_same_pack_is_the_same_pack(tiny_hybrid, folder):
    val = toy_examples(folder, tiny_hybrid, "val")
    options = {"rule": PromotionRule(least_val_units=2), "device": torch.device("cpu"), "sensitivity": False}
    judged = [
        judge_candidate(
            tiny_hybrid,
            Contender(ZERO_SHOT),
            val,
            champion=Contender(ZERO_SHOT),
            units=units_of(val, None),
            **options,
        ).record
        for _ in range(2)
    ]
    assert judged[0] == judged[1]
    assert judged[0].verdict is Verdict.KEEP
    assert "very pack" in judged[0].reason
    assert judged[0].comparisons["champion"].dice.difference.high == 0
