import dataclasses
import json

import pytest
from toy_data import write_toy

from models_store.errors import BadInputError, DamagedError, UnknownNameError
from models_store.registry import Registry
from trainer.auto.attempts import FILE, AttemptLog
from trainer.auto.strategies import strategies_to_try
from trainer.tune import Watch, tune
from trainer.tuning import loop
from trainer.tuning.settings import TuneSettings
from trainer.tuning.state import STATE

SMALL = {"epochs": 2, "min_epochs": 1, "min_steps": 4, "batch_size": 4, "depth": 2, "n": 2, "lr": 1e-2}
FIXED = ("epochs", "min_epochs", "min_steps", "batch_size")
LONG = 3600.0


@pytest.fixture
def folder(tmp_path):
    return write_toy(tmp_path / "toy", train=12, val=5)


def auto(
    folder, vlsm, data_dir, *, strategies=("vpt", "coop"), budget=LONG, watch=None, fixed=FIXED, **changes
):
    return tune(
        folder,
        vlsm=vlsm,
        data_dir=data_dir,
        settings=TuneSettings(**SMALL | changes),
        strategies=strategies,
        budget=budget,
        fixed=fixed,
        watch=watch,
    )


class Cancelled(Exception):
    pass


class TestStrategiesToTry:
    def test_visual_prompts_come_first_where_the_base_takes_them(self, tiny):
        assert strategies_to_try(tiny.spec)[0] == "vpt"
        words = dataclasses.replace(tiny.spec, vision_layers=0)
        assert strategies_to_try(words) == ("coop", "cocoop")


class TestAuto:
    def test_keeps_the_best_of_what_it_tried_and_says_what_that_was(self, tiny, folder, tmp_path):
        told = []
        result = auto(folder, tiny, tmp_path / "data", watch=Watch(tried=told.append))
        assert [a.strategy for a in result.attempts] == ["vpt", "coop"] == [a.strategy for a in told]
        best = max(result.attempts, key=lambda a: a.dice)
        assert result.settings.strategy == result.config.strategy == best.strategy
        training = json.loads((result.folder / "eval.json").read_text())["training"]
        assert training["attempts"] == [dataclasses.asdict(a) for a in result.attempts]
        assert training["budget_seconds"] == LONG
        assert {a["reason"] for a in training["attempts"]} == {"epochs"}
        assert [a["steps"] for a in training["attempts"]] == [8, 8]
        card = (result.folder / "README.md").read_text()
        assert f"| coop | tried | {result.attempts[1].dice:.3f} | 8 |" in card
        assert list((tmp_path / "data" / "runs").iterdir()) == []

    def test_the_settings_it_returns_give_the_same_pack_without_a_budget(self, tiny, folder, tmp_path):
        # The schedule is the budget's own here, and time ends each attempt after its first epoch.
        result = auto(folder, tiny, tmp_path / "a", budget=1e-3, strategies=("vpt",), fixed=())
        assert (result.attempts[0].reason, result.attempts[0].epochs) == ("epochs", 1)
        again = tune(folder, vlsm=tiny, data_dir=tmp_path / "b", settings=result.settings)
        assert again.config.pack_digest == result.config.pack_digest

    def test_time_ends_a_run_early_and_leaves_what_fewer_epochs_give(self, tiny, folder, tmp_path):
        short = auto(folder, tiny, tmp_path / "a", budget=1e-3, strategies=("coop",), epochs=50)
        assert (short.attempts[0].reason, short.attempts[0].epochs) == ("time", 1)
        assert short.settings.epochs == 1
        again = tune(folder, vlsm=tiny, data_dir=tmp_path / "b", settings=short.settings)
        assert again.config.pack_digest == short.config.pack_digest

    def test_what_there_is_no_time_for_is_skipped_with_the_reason(self, tiny, folder, tmp_path):
        result = auto(folder, tiny, tmp_path / "data", budget=1e-3)
        assert [a.outcome for a in result.attempts] == ["tried", "skipped"]
        assert "40 steps would take about" in result.attempts[1].reason
        assert result.config.strategy == "vpt"

    def test_what_the_base_does_not_take_is_skipped(self, tiny, folder, tmp_path):
        class Words:
            """The tiny model, said to have no place for visual prompts."""

            spec = dataclasses.replace(tiny.spec, vision_layers=0)

            def __getattr__(self, name):
                return getattr(tiny, name)

        result = auto(folder, Words(), tmp_path / "data")
        assert [a.outcome for a in result.attempts] == ["skipped", "tried"]
        assert "no place for visual prompts; it takes coop, cocoop" in result.attempts[0].reason

    def test_one_that_diverges_does_not_stop_the_others(self, tiny, folder, tmp_path, monkeypatch):

        def spoiled(run, batch, at):
            return float("nan") if run.learner.visual else backward(run, batch, at)

        backward = loop.TuningRun._backward
        monkeypatch.setattr(loop.TuningRun, "_backward", spoiled)
        result = auto(folder, tiny, tmp_path / "data")
        assert [a.outcome for a in result.attempts] == ["failed", "tried"]
        assert "the loss is nan" in result.attempts[0].reason
        with pytest.raises(BadInputError, match="no strategy could be tuned"):
            auto(folder, tiny, tmp_path / "other", strategies=("vpt",))
        assert not (tmp_path / "other" / "registry").exists()


class TestStopping:
    def test_a_cancelled_run_publishes_nothing_and_goes_on_with_what_it_had(self, tiny, folder, tmp_path):
        whole = auto(folder, tiny, tmp_path / "whole")

        def cancel(tick):
            if tick.dice is not None and tick.epoch == 1 and running[-1] == "coop":
                raise Cancelled

        running = []
        watch = Watch(training=cancel, trying=lambda strategy, epochs: running.append(strategy))
        with pytest.raises(Cancelled):
            auto(folder, tiny, tmp_path / "cut", watch=watch)
        assert not (tmp_path / "cut" / "registry").exists()
        (left,) = (tmp_path / "cut" / "runs").iterdir()
        assert [a.strategy for a in AttemptLog(left)] == ["vpt"]
        assert (left / "coop" / STATE).is_file()

        tried, resumed = [], []
        watch = Watch(
            trying=lambda strategy, epochs: tried.append(strategy), resumed=lambda *at: resumed.append(at)
        )
        result = auto(folder, tiny, tmp_path / "cut", watch=watch)
        assert (tried, resumed) == (["coop"], [(1, 0)])
        assert result.config.pack_digest == whole.config.pack_digest
        assert [a.dice for a in result.attempts] == [a.dice for a in whole.attempts]

    def test_a_damaged_record_says_what_to_do(self, tmp_path):
        (tmp_path / FILE).write_text('{"attempts": [{"strategy": "vpt"}]}')
        with pytest.raises(DamagedError, match=r"cannot be read; delete .* to start anew"):
            AttemptLog(tmp_path)


class TestRefusals:
    def test_selection_on_val_is_refused(self, tiny, folder, tmp_path):
        with pytest.raises(BadInputError, match="chosen on images held out of train"):
            auto(folder, tiny, tmp_path / "data", select_on="val")

    @pytest.mark.parametrize(
        ("strategies", "error", "message"),
        [((), BadInputError, "no strategy to try"), (("lora",), UnknownNameError, "no strategy 'lora'")],
    )
    def test_lists_that_hold_nothing_to_try(self, tiny, folder, tmp_path, strategies, error, message):
        with pytest.raises(error, match=message):
            auto(folder, tiny, tmp_path / "data", strategies=strategies)

    def test_options_of_one_strategy_do_not_go_with_a_list(self, tiny, folder, tmp_path):
        with pytest.raises(BadInputError, match="go with one strategy"):
            auto(folder, tiny, tmp_path / "data", strategy="coop", initial_phrase="a b")


class TestAliases:
    @pytest.mark.parametrize(
        ("aliases", "moved"),
        [
            ("none", {}),
            ("candidate", {"candidate": "v0001"}),
            ("auto", {"candidate": "v0001", "champion": "v0001"}),
        ],
    )
    def test_only_those_asked_for_move(self, tiny, folder, tmp_path, aliases, moved):
        settings = TuneSettings(**SMALL | {"epochs": 1})
        result = tune(folder, vlsm=tiny, data_dir=tmp_path / "data", settings=settings, aliases=aliases)
        registry = Registry(tmp_path / "data" / "registry")
        assert registry.aliases("toy") == moved
        assert result.published.champion == ("champion" in moved)
        assert registry.read(result.published.reference).pack.digest == result.pack.digest
