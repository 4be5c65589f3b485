"""Every strategy in its variants on every kind of base, for oracles that hold for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import pytest
from _pytest.mark.structures import ParameterSet
from store_bases import PHRASES, deep_base, enliven, images, tiny_base, tiny_cris
from torch import Tensor, nn

from models_store.packs import PromptPack, segment_logits
from models_store.strategies import STRATEGIES, make_learner, strategies_for
from models_store.strategies.learner import PromptLearner
from models_store.vlsm import FrozenVLSM

BASES: dict[str, Callable[[], FrozenVLSM]] = {
    "plain": tiny_base,
    "hybrid": partial(tiny_base, hybrid=True),
    "cris": tiny_cris,
}
DEEP_BASES: dict[str, Callable[[], FrozenVLSM]] = {
    "plain": deep_base,
    "hybrid": partial(deep_base, hybrid=True),
    "cris": partial(tiny_cris, layers=12),
}
# Beyond each strategy as it comes.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {name: (name, {}) for name in STRATEGIES} | {
    "coop-phrase": ("coop", {"initial_phrase": "ab"}),
    "coop-late": ("coop", {"reference_depth": True}),
    "cocoop-lora": ("cocoop", {"hidden": 5, "lora": True}),
    "cocoop-linear": ("cocoop", {"hidden": None}),
    "cocoop-unified": ("cocoop", {"hidden": [7, 6], "unified": True, "normalise": True}),
    "cocoop-late": ("cocoop", {"hidden": 6, "reference_depth": True}),
    "maple-lora": ("maple", {"hidden": 5, "lora": True, "norm": False}),
    "maple-linear": ("maple", {"hidden": None, "unified": True}),
    "separate-mlp": ("shared_separate", {"width": 12, "hidden": 9, "norm": False, "final_bias": False}),
    "separate-unified": ("shared_separate", {"width": 8, "unified": True}),
    "attention-token": ("shared_attention", {"attend": "token", "feedforward": 24}),
    "attention-post": ("shared_attention", {"pre_norm": False, "unified": True, "heads": 5}),
}
VISUAL = tuple(name for name, (strategy, _) in VARIANTS.items() if STRATEGIES[strategy].visual)
TEXTUAL = tuple(name for name in VARIANTS if name != "vpt")


def fits(base: FrozenVLSM, variant: str) -> bool:
    """Whether a base takes a variant."""
    strategy, options = VARIANTS[variant]
    late = "reference_depth" in options and base.spec.family != "cris"
    return strategy in strategies_for(base.spec) and not late


def cases(
    variants: Iterable[str] = VARIANTS, *, bases: dict[str, Callable[[], FrozenVLSM]] | None = None
) -> Callable[..., Any]:
    """Parametrise a test over ``base`` and ``variant``, with all pairs that go together."""
    found: list[ParameterSet] = [
        pytest.param(make(), variant, id=f"{name}-{variant}")
        for name, make in (BASES if bases is None else bases).items()
        for variant in variants
        if fits(make(), variant)
    ]
    return pytest.mark.parametrize(("base", "variant"), found)


def made(
    base: FrozenVLSM, variant: str, *, seed: int = 3, lively: bool = True, **options: Any
) -> PromptLearner:
    """The learner of a variant, with parameters as large as after a long training."""
    strategy, own = VARIANTS[variant]
    learner = make_learner(strategy, base, **own, **options)
    return enliven(learner, seed) if lively else learner


def logits(base: FrozenVLSM, pack: PromptPack, rows: int = 3) -> Tensor:
    """Logits of different phrases on different images."""
    return segment_logits(base, pack, images(rows), base.tokenize(PHRASES[:rows], pack.text_tokens))


def assert_near(found: Tensor, expected: Tensor) -> None:
    """Equal but for rounding, whatever the size of the logits."""
    assert found.isfinite().all()
    assert (found - expected).abs().max() <= 1e-4 * max(1.0, float(expected.abs().max()))


def text_layers(base: FrozenVLSM) -> nn.ModuleList:
    """The layers of a base's text tower."""
    network: Any = base.network  # type: ignore[attr-defined]
    if base.spec.family == "cris":
        return network.backbone.transformer.resblocks
    return network.clip.text_model.encoder.layers


def vision_layers(base: FrozenVLSM) -> nn.ModuleList:
    """The layers of a base's vision tower; none where it is convolutional."""
    network: Any = base.network  # type: ignore[attr-defined]
    return nn.ModuleList() if base.spec.family == "cris" else network.clip.vision_model.encoder.layers


def inputs_seen(layers: nn.ModuleList, run: Callable[[], object]) -> list[Tensor]:
    """What enters each of the layers while ``run`` runs."""
    seen: list[Tensor] = []
    hooks = [layer.register_forward_pre_hook(lambda _, args: seen.append(args[0])) for layer in layers]
    run()
    for hook in hooks:
        hook.remove()
    return seen
