"""The prompt-tuning strategies, by name."""

from __future__ import annotations

from typing import Any

from models_store.errors import UnknownNameError
from models_store.strategies.coop import CoOp
from models_store.strategies.learner import PromptLearner
from models_store.strategies.vpt import VPT
from models_store.vlsm import FrozenVLSM

STRATEGIES: dict[str, type[PromptLearner]] = {"coop": CoOp, "vpt": VPT}


def make_learner(strategy: str, vlsm: FrozenVLSM, **options: Any) -> PromptLearner:
    """Build the learner of a strategy.

    Args:
        strategy: A key of :data:`STRATEGIES`.
        vlsm: The frozen model.
        **options: The strategy's own arguments.
    """
    if strategy not in STRATEGIES:
        raise UnknownNameError(f"no strategy {strategy!r}; there are {', '.join(sorted(STRATEGIES))}")
    return STRATEGIES[strategy](vlsm, **options)
