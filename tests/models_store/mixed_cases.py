"""Random rows of any checkpoints, and what a row gives that is run alone."""

from __future__ import annotations

from functools import cache, partial

from hypothesis import strategies as st
from store_bases import images, tiny_base, tiny_cris
from strategy_cases import VARIANTS, fits, made
from torch import Tensor

from models_store.heads import HeadMode
from models_store.mixed import Row
from models_store.packs import ZERO_SHOT, PromptPack, segment_logits
from models_store.vlsm import FrozenVLSM

BASES = {"plain": tiny_base, "hybrid": partial(tiny_base, hybrid=True), "cris": tiny_cris}
PIXELS = list(images(4))
LONG = "a phrase that is far longer than the tower has positions for, so that its end is cut " * 2


@cache
def pack_of(base: str, variant: str, depth: int, n: int, head: HeadMode, seed: int) -> PromptPack:
    """A folded pack as after a long training; the text tower of a CRIS takes one level more."""
    return made(BASES[base](), variant, seed=seed, depth=depth, n=n, head=head).fold()


def packs(base: str) -> st.SearchStrategy[PromptPack]:
    """Any strategy in any variant, depth, number and head, and zero-shot."""
    variants = [variant for variant in VARIANTS if fits(BASES[base](), variant) and variant != "coop-phrase"]
    tuned = st.builds(
        partial(pack_of, base),
        st.sampled_from(variants),
        st.integers(1, 4),
        st.integers(1, 6),
        st.sampled_from(HeadMode),
        st.integers(0, 2),
    )
    return st.just(ZERO_SHOT) | tuned


def rows(base: str) -> st.SearchStrategy[list[Row]]:
    """One to six rows."""
    phrases = st.sampled_from(["liver", LONG]) | st.text(
        st.characters(codec="utf-8"), min_size=1, max_size=30
    ).filter(str.strip)
    row = st.builds(Row, packs(base), st.sampled_from(PIXELS), phrases)
    return st.lists(row, min_size=1, max_size=6)


def alone(base: FrozenVLSM, row: Row) -> Tensor:
    """The way that training and evaluation go."""
    tokens = base.tokenize([row.phrase], row.pack.text_tokens)
    return segment_logits(base, row.pack, row.pixels[None], tokens)[0]


def assert_each_as_alone(base: FrozenVLSM, mix: list[Row], found: Tensor) -> None:
    assert len(found) == len(mix)
    for row, logits in zip(mix, found, strict=True):
        expected = alone(base, row)
        assert (logits - expected).abs().max() <= 1e-5 * max(1.0, float(expected.abs().max()))
