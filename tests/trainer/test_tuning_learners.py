"""A checkpoint says all that its learner was built with, the benchmark's defects on purpose among it."""

import pytest
from cris_parts import tiny_cris
from toy_data import write_toy

from models_store.checkpoints import read_checkpoint
from models_store.heads import HeadMode
from models_store.strategies import STRATEGIES, make_learner
from trainer.tune import tune
from trainer.tuning.learners import build_learner
from trainer.tuning.settings import TuneSettings
from trainer.tuning.strategies import accepted_options

GIVEN = {"maple": {"hidden": 8}, "shared_attention": {"attend": "token", "heads": 8, "feedforward": 16}}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_arguments_are_all_there_and_build_the_learner_again(tiny, strategy):
    settings = TuneSettings(strategy=strategy, options=GIVEN.get(strategy, {}), n=2)
    learner, options = build_learner(settings, tiny)
    assert options.keys() == set(accepted_options(strategy))
    assert options.items() >= dict(settings.options).items()
    assert make_learner(strategy, tiny, **options).fold().digest == learner.fold().digest


@pytest.mark.parametrize(
    ("strategy", "head", "options"),
    [
        ("shared_attention", HeadMode.MIX, {"attend": "token", "heads": 8, "feedforward": 16}),
        ("vpt", HeadMode.ADD, {}),
        ("coop", HeadMode.NONE, {"reference_depth": True}),
        ("cocoop", HeadMode.MIX, {"reference_depth": True, "hidden": 4}),
    ],
)
def test_switches_for_the_benchmarks_own_ways_are_recorded(tiny, tmp_path, strategy, head, options):
    folder = write_toy(tmp_path / "toy", train=6, val=2)
    vlsm = tiny_cris() if "reference_depth" in options else tiny
    settings = TuneSettings(
        strategy=strategy, head=head, options=options, depth=2, n=2, epochs=1, min_steps=1, augment=False
    )
    result = tune(folder, vlsm=vlsm, data_dir=tmp_path / "data", settings=settings)
    config = read_checkpoint(result.folder).config
    assert config.head is head
    assert config.options.items() >= options.items()
    assert config.options.keys() == set(accepted_options(strategy)) - {"depth", "n", "head", "seed"}
