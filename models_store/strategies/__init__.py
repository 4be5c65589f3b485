"""The prompt-tuning strategies, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from models_store.errors import BadInputError, UnknownNameError
from models_store.strategies.cocoop import CoCoOp
from models_store.strategies.coop import CoOp
from models_store.strategies.learner import PromptLearner
from models_store.strategies.maple import MaPLe
from models_store.strategies.shared_attention import SharedAttention
from models_store.strategies.shared_separate import SharedSeparate
from models_store.strategies.vpt import VPT
from models_store.vlsm import FrozenVLSM, VLSMSpec

STRATEGIES: dict[str, type[PromptLearner]] = {
    "coop": CoOp,
    "cocoop": CoCoOp,
    "vpt": VPT,
    "maple": MaPLe,
    "shared_separate": SharedSeparate,
    "shared_attention": SharedAttention,
}


def strategies_for(spec: VLSMSpec) -> tuple[str, ...]:
    """Names of the strategies that a model takes."""
    return tuple(name for name, made in STRATEGIES.items() if spec.takes_visual_prompts or not made.visual)


def make_learner(strategy: str, vlsm: FrozenVLSM, **options: Any) -> PromptLearner:
    """Build the learner of a strategy.

    Args:
        strategy: A key of :data:`STRATEGIES`.
        vlsm: The frozen model.
        **options: The strategy's own arguments.

    Raises:
        UnknownNameError: There is no such strategy.
        BadInputError: The model does not take it, or an option is outside what is accepted.
    """
    if strategy not in STRATEGIES:
        raise UnknownNameError(f"no strategy {strategy!r}; there are {', '.join(sorted(STRATEGIES))}")
    taken = strategies_for(vlsm.spec)
    if strategy not in taken:
        raise BadInputError(
            f"{strategy} needs visual prompts, which {vlsm.spec.name} ({vlsm.spec.family}) has no place for; "
            f"it takes {', '.join(taken)}"
        )
    build: Callable[..., PromptLearner] = STRATEGIES[strategy]
    return build(vlsm, **options)
