import copy

import pytest
import torch
from toy_data import write_toy
from tuning_parts import CPU, toy_examples, toy_run

from models_store.errors import BadInputError, DamagedError
from models_store.heads import AdditiveHead, HeadMode
from models_store.packs import ZERO_SHOT
from trainer.evaluate import evaluate_examples
from trainer.tuning.loop import PLATEAU_FACTOR
from trainer.tuning.parameters import check_frozen, frozen_parameters, parameter_groups
from trainer.tuning.state import STATE, run_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_toy(tmp_path_factory.mktemp("data") / "toy", train=12, val=6)


def values(run):
    return {k: v.clone() for k, v in run.learner.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


class TestTraining:
    def test_lowers_the_loss_and_beats_zero_shot(self, tiny, folder, tmp_path):
        run = toy_run(folder, tiny, tmp_path / "run", min_steps=8)
        run.run()
        history = run.progress.history
        assert history[-1].train_loss < 0.5 * history[0].train_loss
        val = toy_examples(folder, tiny, "val")
        before, after = (
            evaluate_examples(tiny, pack, val, device=CPU).summary()["dice"]["mean"]
            for pack in (ZERO_SHOT, run.learner.fold())
        )
        assert after > before + 0.15
        assert after > 0.9

    @pytest.mark.parametrize("strategy", ["vpt", "coop"])
    def test_only_the_learner_moves(self, tiny_hybrid, folder, tmp_path, strategy):
        before = copy.deepcopy(tiny_hybrid.network.state_dict())
        run = toy_run(folder, tiny_hybrid, tmp_path / "run", strategy=strategy, epochs=1)
        start = values(run)
        run.run()
        assert same(before, tiny_hybrid.network.state_dict())
        check_frozen(tiny_hybrid)
        assert len(frozen_parameters(tiny_hybrid)) > 50
        assert not any(torch.equal(start[name], value) for name, value in values(run).items())

    def test_a_base_that_could_move_is_refused(self, tiny_hybrid, folder, tmp_path):
        loose = copy.deepcopy(tiny_hybrid)
        next(iter(loose.network.parameters())).requires_grad_(True)
        with pytest.raises(RuntimeError, match="1 parameters of the frozen model take gradients"):
            toy_run(folder, loose, tmp_path / "run")

    def test_the_best_epoch_is_kept_and_not_the_last(self, tiny, folder, tmp_path, monkeypatch):
        run = toy_run(folder, tiny, tmp_path / "run")
        measured, seen = iter([(0.9, 0.3), (0.8, 0.7), (0.7, 0.5)]), []

        def measure():
            seen.append(values(run))
            return next(measured)

        monkeypatch.setattr(run, "_measure", measure)
        run.run()
        assert (run.progress.best_epoch, run.progress.best_dice) == (2, 0.7)
        assert same(values(run), seen[1])
        assert not same(values(run), seen[2])

    def test_stops_without_progress_but_not_before_the_least_epochs(
        self, tiny, folder, tmp_path, monkeypatch
    ):
        run = toy_run(folder, tiny, tmp_path / "run", epochs=50, min_epochs=4, min_steps=1, patience=2)
        # Less than the delta lower is no progress.
        losses = iter(0.5 - 1e-6 * i for i in range(50))
        monkeypatch.setattr(run, "_measure", lambda: (next(losses), 0.5))
        run.run()
        assert run.progress.epoch == 4

    def test_the_rate_falls_on_a_plateau(self, tiny, folder, tmp_path, monkeypatch):
        run = toy_run(folder, tiny, tmp_path / "run", epochs=9, min_steps=1, batch_size=12)
        monkeypatch.setattr(run, "_measure", lambda: (0.5, 0.5))
        run.run()
        rates = [record.lr for record in run.progress.history]
        assert rates[:7] == [1e-2] * 7
        assert rates[8] == pytest.approx(1e-2 * PLATEAU_FACTOR)

    def test_a_loss_that_is_no_number_is_an_error(self, tiny, folder, tmp_path):
        run = toy_run(folder, tiny, tmp_path / "run")
        with torch.no_grad():
            run.learner.context.fill_(float("nan"))
        with pytest.raises(BadInputError, match="loss is nan in epoch 1; try a lower learning rate"):
            run.run()

    def test_the_same_seed_gives_the_same_values_and_another_does_not(self, tiny, folder, tmp_path):
        runs = [toy_run(folder, tiny, tmp_path / str(i), seed=s, epochs=1) for i, s in enumerate([7, 7, 8])]
        for run in runs:
            run.run()
        assert same(values(runs[0]), values(runs[1]))
        assert not same(values(runs[0]), values(runs[2]))


class TestParameterGroups:
    def test_only_convolution_weights_decay(self):
        head = AdditiveHead(4, HeadMode.MIX)
        decayed, plain = parameter_groups(head, 1e-3, 0.1)
        assert [p.shape for p in decayed["params"]] == [head.conv.weight.shape]
        assert decayed["weight_decay"] == 0.1
        assert {id(p) for p in plain["params"]} == {id(head.conv.bias), id(head.ratio)}
        assert plain["weight_decay"] == 0


class TestResuming:
    @pytest.mark.parametrize("strategy", ["vpt", "coop"])
    @pytest.mark.parametrize("stop", [(0, 3), (1, 4), (2, 1)])
    def test_a_stopped_run_ends_bitwise_where_an_uninterrupted_one_does(
        self, tiny, folder, tmp_path, strategy, stop
    ):
        whole = toy_run(folder, tiny, tmp_path / "whole", strategy=strategy)
        whole.run()

        class StoppedError(Exception):
            pass

        def interrupt(tick):
            if (tick.epoch, tick.step) == stop and tick.dice is None:
                raise StoppedError

        with pytest.raises(StoppedError):
            toy_run(folder, tiny, tmp_path / "cut", strategy=strategy, save_every=2).run(interrupt)
        resumed = toy_run(folder, tiny, tmp_path / "cut", strategy=strategy, save_every=2)
        assert (resumed.progress.epoch, resumed.progress.step) in ((0, 2), (1, 2), (2, 0))
        resumed.run()
        assert same(values(whole), values(resumed))
        assert whole.progress.history == resumed.progress.history

    def test_a_finished_run_is_not_trained_again(self, tiny, folder, tmp_path):
        first = toy_run(folder, tiny, tmp_path / "run")
        first.run()
        again, ticks = toy_run(folder, tiny, tmp_path / "run"), []
        again.run(ticks.append)
        assert ticks == []
        assert same(values(first), values(again))

    def test_a_damaged_state_says_what_to_do(self, tiny, folder, tmp_path):
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / STATE).write_bytes(b"PK\x03\x04 cut short")
        with pytest.raises(DamagedError, match=r"cannot be read; delete .* to start anew"):
            toy_run(folder, tiny, tmp_path / "run")

    def test_two_processes_cannot_share_a_run(self, tmp_path):
        with (
            run_folder(tmp_path / "run") as folder,
            pytest.raises(BadInputError, match="under way in another process"),
            run_folder(folder),
        ):
            pass
        with run_folder(tmp_path / "run") as held:
            assert held.is_dir()
