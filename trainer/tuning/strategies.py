"""What each strategy starts from, which options it takes, and its learner built from settings."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from models_store.errors import BadInputError, UnknownNameError
from models_store.heads import HeadMode
from models_store.strategies import STRATEGIES, make_learner
from models_store.strategies.learner import PromptLearner
from models_store.vlsm import FrozenVLSM

if TYPE_CHECKING:
    from trainer.tuning.settings import TuneSettings

COMMON_OPTIONS = ("depth", "n", "head", "seed")


@dataclass(frozen=True)
class StrategyDefaults:
    """What works for a strategy on the small embedded models within minutes."""

    depth: int
    n: int
    head: HeadMode
    lr: float


# From short runs (80 images, 100 to 150 steps of 8) on chest X-rays and breast ultrasound, judged on
# training images that were held out. The benchmark's rate of 2e-4 is for 20 epochs of thousands of
# images; prompts that replace hidden states of size 1 but start at 0.02 need about 1e-2, and at 5e-2
# the head overshoots. The head carries most of the gain: the benchmark's CoOp has none, and without
# it CoOp gained about half as much. 16 tokens did better than the benchmark's 4. The benchmark's own
# values are in trainer/conf.
DEFAULTS = {
    "coop": StrategyDefaults(depth=6, n=16, head=HeadMode.ADD, lr=1e-2),
    "cocoop": StrategyDefaults(depth=6, n=16, head=HeadMode.ADD, lr=1e-2),
    "vpt": StrategyDefaults(depth=6, n=16, head=HeadMode.ADD, lr=1e-2),
    "maple": StrategyDefaults(depth=6, n=16, head=HeadMode.ADD, lr=1e-2),
    "shared_separate": StrategyDefaults(depth=6, n=16, head=HeadMode.ADD, lr=1e-2),
    "shared_attention": StrategyDefaults(depth=6, n=16, head=HeadMode.ADD, lr=1e-2),
}
ANY_DEFAULTS = StrategyDefaults(depth=1, n=1, head=HeadMode.NONE, lr=1e-3)


def strategy_defaults(strategy: str) -> StrategyDefaults:
    """What a strategy starts from."""
    return DEFAULTS.get(strategy, ANY_DEFAULTS)


def check_strategy(strategy: str) -> None:
    """Raise UnknownNameError unless there is such a strategy."""
    if strategy not in STRATEGIES:
        raise UnknownNameError(f"no strategy {strategy!r}; there are {', '.join(sorted(STRATEGIES))}")


def accepted_options(strategy: str) -> tuple[str, ...]:
    """Names of the arguments a strategy's learner takes, in the order it declares them."""
    parameters = inspect.signature(STRATEGIES[strategy]).parameters.values()
    return tuple(p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY)


def own_options(strategy: str) -> tuple[str, ...]:
    """The options a strategy has beyond those that all have."""
    return tuple(name for name in accepted_options(strategy) if name not in COMMON_OPTIONS)


def check_options(strategy: str, options: Mapping[str, Any]) -> None:
    """Raise BadInputError for an option that the strategy does not take, naming those that do."""
    taken = own_options(strategy)
    for name in options:
        if name in taken:
            continue
        others = [other for other in sorted(STRATEGIES) if name in own_options(other)]
        whose = (
            f"{name} is an option of {', '.join(others)}; " if others else f"there is no option {name!r}; "
        )
        what = f"{strategy} takes {', '.join(taken)}" if taken else f"{strategy} has no options of its own"
        raise BadInputError(whose + what)


def learner_options(settings: TuneSettings, vlsm: FrozenVLSM) -> dict[str, Any]:
    """The arguments of a learner's constructor.

    A default depth is cut to the layers the model has; one that was asked for is not.
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
    return {name: value for name, value in options.items() if name in accepted} | dict(settings.options)


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
