"""A strategy's learner, built from settings."""

from __future__ import annotations

from typing import Any

from models_store.errors import BadInputError
from models_store.strategies import make_learner
from models_store.strategies.learner import PromptLearner
from models_store.vlsm import FrozenVLSM
from trainer.tuning.settings import TuneSettings
from trainer.tuning.strategies import accepted_options, default_options, strategy_defaults


def learner_options(settings: TuneSettings, vlsm: FrozenVLSM) -> dict[str, Any]:
    """All arguments of a learner's constructor, those of a default value too.

    They are recorded with a checkpoint, which a later default must not change the meaning of. A default
    depth is cut to the layers the model has; one that was asked for is not.
    """
    defaults = strategy_defaults(settings.strategy)
    options: dict[str, Any] = {
        "depth": min(defaults.depth, vlsm.spec.max_depth) if settings.depth is None else settings.depth,
        "n": defaults.n if settings.n is None else settings.n,
        "head": defaults.head if settings.head is None else settings.head,
        "seed": settings.seed,
    }
    if settings.initial_phrase is not None:
        options["initial_phrase"] = settings.initial_phrase
    accepted = accepted_options(settings.strategy)
    options = {name: value for name, value in options.items() if name in accepted}
    return default_options(settings.strategy) | options | dict(settings.options)


def build_learner(settings: TuneSettings, vlsm: FrozenVLSM) -> tuple[PromptLearner, dict[str, Any]]:
    """The learner of the settings, and the arguments that build it again."""
    options = learner_options(settings, vlsm)
    try:
        learner = make_learner(settings.strategy, vlsm, **options)
    except TypeError as error:
        raise BadInputError(f"an option of {settings.strategy} is of the wrong kind: {error}") from error
    text, visual = learner.prompts()
    prompts = text if text is not None else visual
    if prompts is not None:
        options["n"] = prompts.shape[-2]
    return learner, options
