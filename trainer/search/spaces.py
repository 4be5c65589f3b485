"""The benchmark's search spaces, with its typing error corrected.

For CoCoOp the benchmark has ``choice(32, 129, 32)``, the two widths 32 and 129; a range of 32 to 128
in steps of 32, as for MaPLe, was surely meant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from models_store.errors import BadInputError, UnknownNameError
from models_store.vlsm import VLSMSpec
from trainer.tuning.settings import TuneSettings
from trainer.tuning.strategies import COMMON_OPTIONS, own_options

Space = dict[str, dict[str, Any]]

RATES: Space = {
    "lr": {"low": 1e-5, "high": 5e-3, "log": True},
    "weight_decay": {"low": 1e-5, "high": 1e-2, "log": True},
    "depth": {"low": 1, "high": 11},
}
OWN: dict[str, Space] = {
    "coop": {},
    "vpt": {},
    "cocoop": {"hidden": {"low": 32, "high": 128, "step": 32}, "lora": {"choices": [False, True]}},
    "maple": {"hidden": {"low": 32, "high": 96, "step": 32}, "lora": {"choices": [False, True]}},
    "shared_separate": {"width": {"choices": [32, 64]}},
    "shared_attention": {
        "heads": {"choices": [16, 20, 32]},
        "dropout": {"low": 0.1, "high": 0.55},
        "feedforward": {"choices": [1280, 1420]},
        "pre_norm": {"choices": [True, False]},
    },
}
SETTINGS = ("lr", "weight_decay", "depth", "n", "batch_size")


def space_of(strategy: str, spec: VLSMSpec, changes: Mapping[str, Any] | None = None) -> Space:
    """The space of a strategy on a model.

    Args:
        strategy: Its name.
        spec: The model's sizes; the depth ends with its layers, and attention heads are those that
            divide the widths.
        changes: Entries to replace; None takes one out.

    Raises:
        UnknownNameError: The strategy has no such option.
    """
    space = RATES | OWN.get(strategy, {})
    space["depth"] = space["depth"] | {"high": min(11, spec.max_depth)}
    if "heads" in space:
        width = spec.text_width + spec.vision_width
        space["heads"] = {"choices": [h for h in space["heads"]["choices"] if width % h == 0]}
    for name, entry in (changes or {}).items():
        if name not in SETTINGS and name not in own_options(strategy):
            accepted = ", ".join([*SETTINGS, *own_options(strategy)])
            raise UnknownNameError(f"{strategy} has no {name!r} to search; there are {accepted}")
        space[name] = {} if entry is None else dict(entry)
    return {name: entry for name, entry in space.items() if entry}


def distribution(name: str, entry: Mapping[str, Any]) -> BaseDistribution:
    """Optuna's distribution of one entry: ``choices``, or ``low`` and ``high`` with ``log`` or ``step``.

    Raises:
        BadInputError: The entry is neither.
    """
    try:
        if "choices" in entry:
            return CategoricalDistribution(entry["choices"])
        whole = all(isinstance(entry[end], int) for end in ("low", "high"))
        return IntDistribution(**{"step": 1} | dict(entry)) if whole else FloatDistribution(**entry)
    except (KeyError, TypeError, ValueError) as error:
        raise BadInputError(
            f"the space of {name} is {dict(entry)}; accepted are choices, or low and high with log or step "
            f"({error})"
        ) from error


def with_values(settings: TuneSettings, values: Mapping[str, Any]) -> TuneSettings:
    """Settings with a trial's values in them."""
    plain = {name: value for name, value in values.items() if name in SETTINGS or name in COMMON_OPTIONS}
    own = {name: value for name, value in values.items() if name not in plain}
    return replace(settings, **plain, options={**settings.options, **own})
