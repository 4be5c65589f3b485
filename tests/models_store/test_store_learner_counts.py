"""How many values each strategy learns at the published sizes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from store_bases import published_cris_spec, published_spec
from torch import Tensor

from models_store.heads import HeadMode
from models_store.strategies import make_learner
from models_store.strategies.learner import PromptLearner
from models_store.vlsm import VLSMSpec

CLIPSEG, CRIS = published_spec(), published_cris_spec()
MLP, LORA = {"hidden": 64}, {"hidden": 64, "lora": True}
# Strategy, options, values per depth, and at a depth of 11.
CLIPSEG_TABLE: list[tuple[str, dict[str, Any], int, int]] = [
    ("coop", {}, 2_048, 22_528),
    ("cocoop", MLP, 68_160, 749_760),
    ("cocoop", LORA, 68_096, 749_056),
    ("vpt", {}, 3_072, 33_792),
    ("maple", MLP, 85_568, 941_248),
    ("maple", LORA, 85_504, 940_544),
    ("shared_separate", {"width": 64}, 83_456, 918_016),
    ("shared_attention", {"feedforward": 1536}, 10_503_936, 115_543_296),
    ("shared_attention", {"feedforward": 1280}, 9_848_320, 108_331_520),
    ("shared_attention", {"feedforward": 1420, "heads": 20}, 10_206_860, 112_275_460),
]
CRIS_TABLE: list[tuple[str, dict[str, Any], int, int]] = [
    ("coop", {}, 2_048, 22_528),
    ("cocoop", MLP, 100_928, 1_110_208),
]
# Ends of the searched spaces: strategy, options, sizes, depth, values.
SEARCHED: list[tuple[str, dict[str, Any], VLSMSpec, int, int]] = [
    ("cocoop", {"hidden": 32, "lora": True}, CLIPSEG, 1, 35_328),
    ("cocoop", {"hidden": 129}, CLIPSEG, 11, 1_482_635),
    ("cocoop", {"hidden": 32, "lora": True}, CRIS, 1, 51_712),
    ("cocoop", {"hidden": 129}, CRIS, 11, 2_209_163),
    ("maple", {"hidden": 32, "lora": True}, CLIPSEG, 1, 44_544),
    ("maple", {"hidden": 96}, CLIPSEG, 11, 1_392_160),
    ("shared_separate", {"width": 32}, CLIPSEG, 1, 42_368),
]


class Sizes:
    """As much of a frozen model as a learner without an initial phrase looks at."""

    def __init__(self, spec: VLSMSpec):
        self.spec = spec

    def embed_phrase(self, phrase: str) -> Tensor:
        return torch.zeros(len(phrase.split()), self.spec.text_width)


def learner(spec: VLSMSpec, strategy: str, **options: Any) -> PromptLearner:
    # Without memory: only shapes matter, and shared-attention has 115 million values.
    with torch.device("meta"):
        return make_learner(strategy, Sizes(spec), **options)


def of_sizes(table: list[tuple[str, dict[str, Any], int, int]]) -> Any:
    return pytest.mark.parametrize(("strategy", "options", "per_depth", "at_eleven"), table)


def check(spec: VLSMSpec, strategy: str, options: dict[str, Any], depth: int, count: int) -> None:
    made = learner(spec, strategy, depth=depth, n=4, head=HeadMode.NONE, **options)
    assert made.parameter_count() == count
    assert sum(t.numel() for t in made.state_dict().values()) == count


@of_sizes(CLIPSEG_TABLE)
def test_clipseg(strategy: str, options: dict[str, Any], per_depth: int, at_eleven: int) -> None:
    check(CLIPSEG, strategy, options, 1, per_depth)
    check(CLIPSEG, strategy, options, 11, at_eleven)


@of_sizes(CRIS_TABLE)
@pytest.mark.parametrize("late", [False, True])
def test_cris(strategy: str, options: dict[str, Any], per_depth: int, at_eleven: int, late: bool) -> None:
    check(CRIS, strategy, options | {"reference_depth": late}, 1, per_depth)
    check(CRIS, strategy, options | {"reference_depth": late}, 11, at_eleven)


@pytest.mark.parametrize(("strategy", "options", "spec", "depth", "count"), SEARCHED)
def test_ends_of_the_searched_spaces(
    strategy: str, options: dict[str, Any], spec: VLSMSpec, depth: int, count: int
) -> None:
    check(spec, strategy, options, depth, count)


@pytest.mark.parametrize(("spec", "added"), [(CLIPSEG, 1_601), (CRIS, 34_369)])
@pytest.mark.parametrize(("mode", "ratio"), [(HeadMode.ADD, 0), (HeadMode.MIX, 1)])
def test_heads(spec: VLSMSpec, added: int, mode: HeadMode, ratio: int) -> None:
    plain, headed = (learner(spec, "coop", depth=3, head=head) for head in (HeadMode.NONE, mode))
    assert headed.parameter_count() - plain.parameter_count() == added + ratio


@pytest.mark.parametrize(
    ("strategy", "options", "shared"),
    [("cocoop", MLP, 66_112), ("maple", LORA, 83_456), ("shared_attention", {}, 10_498_816)],
)
def test_a_unified_projection_counts_once(strategy: str, options: dict[str, Any], shared: int) -> None:
    made = learner(CLIPSEG, strategy, depth=11, head=HeadMode.NONE, unified=True, **options)
    assert made.parameter_count() == shared + made.context.numel()


def test_an_initial_phrase_decides_n() -> None:
    made = make_learner("coop", Sizes(CLIPSEG), depth=2, n=9, initial_phrase="a photo of a")
    assert made.parameter_count() == 2 * 4 * 512
