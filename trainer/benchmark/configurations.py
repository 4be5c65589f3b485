"""The short list each method's search goes through: the same number of tries for all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from trainer.baselines import DECODER, END_TO_END


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """One try; None means the strategy's default.

    Attributes:
        lr: Learning rate.
        depth: Prompt depth, cut to the layers the base has.
        weight_decay: Of convolution and linear weights.
    """

    lr: float
    depth: int | None = None
    weight_decay: float = 1e-4

    def row(self) -> dict[str, Any]:
        """As JSON holds it, without what does not apply."""
        return {k: v for k, v in asdict(self).items() if v is not None}


# The first is what a run of one trial gets. Rates are those that prompts of a small base need (see
# trainer/tuning/strategies.py); a transformer layer per depth, as shared attention has, needs
# smaller ones. Weights of the base move by the rates of the benchmark's end-to-end runs.
_PROMPTS = (
    Configuration(lr=1e-2, depth=6),
    Configuration(lr=3e-3, depth=6),
    Configuration(lr=1e-2, depth=3),
    Configuration(lr=3e-3, depth=3),
    Configuration(lr=2e-2, depth=6),
    Configuration(lr=1e-3, depth=6),
)
_LAYERS = (
    Configuration(lr=1e-3, depth=6),
    Configuration(lr=3e-3, depth=6),
    Configuration(lr=1e-3, depth=3),
    Configuration(lr=3e-3, depth=3),
    Configuration(lr=3e-4, depth=6),
    Configuration(lr=1e-2, depth=6),
)
_DECODER = tuple(Configuration(lr=lr, weight_decay=1e-3) for lr in (1e-3, 3e-4, 3e-3, 1e-4, 5e-3, 5e-4))
_ALL = tuple(Configuration(lr=lr, weight_decay=1e-3) for lr in (2e-4, 5e-5, 5e-4, 1e-4, 1e-3, 2e-5))
_BY_METHOD = {DECODER: _DECODER, END_TO_END: _ALL, "shared_attention": _LAYERS}


def configurations(method: str) -> list[Configuration]:
    """What is tried for a method, in order."""
    return list(_BY_METHOD.get(method, _PROMPTS))


MOST_TRIALS = min(map(len, (_PROMPTS, _LAYERS, _DECODER, _ALL)))


def in_words(configuration: Mapping[str, Any]) -> str:
    """A configuration's row on one line."""
    return ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in configuration.items())
