"""The oracles of the six strategies that hold whatever the strategy and the base.

(a), (b), ... are those of the specification's list; the towers' own rules are in the tests of
text prompts (``test_store_coop``) and of visual prompts (``test_store_vpt``).
"""

from __future__ import annotations

import dataclasses

import pytest
import torch
from store_bases import PHRASES, images
from strategy_cases import (
    BASES,
    DEEP_BASES,
    STRATEGIES,
    TEXTUAL,
    VISUAL,
    assert_near,
    cases,
    inputs_seen,
    logits,
    made,
    text_layers,
    vision_layers,
)
from torch import Tensor, nn

from models_store.heads import HeadMode
from models_store.packs import ZERO_SHOT, PromptPack, decode_pack, encode_phrases, segment_logits
from models_store.strategies import make_learner
from models_store.vlsm import FrozenVLSM

DEEP_CLIPSEG = {name: base for name, base in DEEP_BASES.items() if name != "cris"}
named = pytest.mark.parametrize("name", list(BASES))


def without_shift(learner: nn.Module) -> None:
    """Make a CoCoOp's meta-nets answer zero, by the norm that ends them."""
    with torch.no_grad():
        for module in learner.shift.modules():
            if isinstance(module, nn.LayerNorm):
                module.weight.zero_()


@named
@pytest.mark.parametrize("strategy", ["coop", "cocoop", "maple"])
@pytest.mark.parametrize("phrase", ["a photo of a", "x"])
def test_a_depth_one_from_words_is_the_longer_sentence(name: str, strategy: str, phrase: str) -> None:
    base, pixels = BASES[name](), images(3)
    if strategy == "maple" and name == "cris":
        strategy = "coop"
    learner = make_learner(strategy, base, depth=1, initial_phrase=phrase, head=HeadMode.NONE)
    if strategy == "cocoop":
        without_shift(learner)
    words_alone = dataclasses.replace(learner.fold(), visual=None)
    prompted = segment_logits(base, words_alone, pixels, base.tokenize(PHRASES, words_alone.text_tokens))
    longer = base.tokenize([f"{phrase} {words}" for words in PHRASES])
    assert torch.equal(prompted, segment_logits(base, ZERO_SHOT, pixels, longer))
    assert not torch.equal(prompted, segment_logits(base, ZERO_SHOT, pixels, base.tokenize(PHRASES)))


@named
@pytest.mark.parametrize("late", [False, True])
def test_b_a_shift_of_zero_leaves_coop(name: str, late: bool) -> None:
    base = BASES[name]()
    options = {"reference_depth": True} if late and name == "cris" else {}
    coop, cocoop = (
        make_learner(strategy, base, depth=3, initial_phrase="abc", seed=1, **options)
        for strategy in ("coop", "cocoop")
    )
    with torch.no_grad():
        cocoop.context.copy_(coop.context)
    assert not torch.allclose(logits(base, coop.fold()), logits(base, cocoop.fold()))
    without_shift(cocoop)
    assert torch.equal(logits(base, coop.fold()), logits(base, cocoop.fold()))


@cases(STRATEGIES, bases=DEEP_BASES)
@pytest.mark.parametrize("k", [0, 1, 4, 9])
def test_c_a_level_changes_nothing_before_its_layer(base: FrozenVLSM, variant: str, k: int) -> None:
    learner = made(base, variant, depth=10, n=2)

    def seen() -> tuple[list[Tensor], list[Tensor]]:
        pack = learner.fold()
        words: list[Tensor] = []
        pictures = inputs_seen(
            vision_layers(base),
            lambda: words.extend(inputs_seen(text_layers(base), lambda: logits(base, pack))),
        )
        return words, pictures

    before = seen()
    with torch.no_grad():
        learner.context[k] += 1
    after = seen()
    textual, visual = variant != "vpt", STRATEGIES[variant].visual
    for prompted, old, new in zip((textual, visual), before, after, strict=True):
        assert all(torch.equal(old[layer], new[layer]) for layer in range(min(k, len(old))))
        if prompted:
            assert not torch.equal(old[k], new[k])
        else:
            assert all(map(torch.equal, old, new))


@cases(VISUAL)
def test_d_scale_and_shift_of_the_first_visual_prompt_do_not_matter(base: FrozenVLSM, variant: str) -> None:
    pack = made(base, variant, depth=2).fold()
    scaled = pack.visual.clone()
    scaled[0] = scaled[0] * 1.7 + 0.4
    changed = logits(base, dataclasses.replace(pack, visual=scaled))
    assert_near(changed, logits(base, pack))


@cases()
def test_e_prompts_never_change_the_shape(base: FrozenVLSM, variant: str) -> None:
    zero_shot = logits(base, ZERO_SHOT)
    for depth, n in ((1, 1), (4, 9)):
        pack = made(base, variant, depth=depth, n=n).fold()
        assert logits(base, pack).shape == zero_shot.shape
        nothing = PromptPack(*(None if p is None else p[:, :0] for p in (pack.text, pack.visual)))
        assert torch.equal(logits(base, nothing), zero_shot)


@cases()
def test_f_a_row_does_not_see_the_others(base: FrozenVLSM, variant: str) -> None:
    pack = made(base, variant, depth=3, n=3, head=HeadMode.MIX).fold()
    together, pixels = logits(base, pack), images(3)
    for row, phrase in enumerate(PHRASES):
        tokens = base.tokenize([phrase], pack.text_tokens)
        alone = segment_logits(base, pack, pixels[row : row + 1], tokens)
        assert_near(together[row : row + 1], alone)


@cases(STRATEGIES)
@pytest.mark.parametrize("words", [76, 90])
def test_g_overlong_text(base: FrozenVLSM, variant: str, words: int) -> None:
    pack = made(base, variant, depth=2, n=4).fold()
    phrases = ["x" * words, "y"]
    seen = inputs_seen(
        text_layers(base),
        lambda: segment_logits(base, pack, images(2), base.tokenize(phrases, pack.text_tokens)),
    )
    # Sequences first in one family and rows first in the other.
    assert {x.shape[0] * x.shape[1] for x in seen} == {2 * 77}
    found = segment_logits(base, pack, images(2), base.tokenize(phrases, pack.text_tokens))
    cut = segment_logits(base, pack, images(2), base.tokenize(["x" * (words + 9), "y"], pack.text_tokens))
    assert_near(found, cut)


@named
def test_k_a_mixing_head_of_ratio_zero_is_the_base(name: str) -> None:
    base = BASES[name]()
    head = made(base, "coop", head=HeadMode.MIX).fold().head
    assert not torch.equal(logits(base, PromptPack(head=head)), logits(base, ZERO_SHOT))
    head.ratio.zero_()
    assert torch.equal(logits(base, PromptPack(head=head)), logits(base, ZERO_SHOT))


@cases()
def test_n_kept_features_give_equal_masks(base: FrozenVLSM, variant: str) -> None:
    pack = made(base, variant, depth=2, n=2, head=HeadMode.ADD).fold()
    kept = base.encode_image(images(3), pack.visual, pooled=pack.needs_pooled)
    tokens = base.tokenize(PHRASES, pack.text_tokens)
    for _ in range(2):
        found = decode_pack(base, pack, kept, encode_phrases(base, pack, tokens, kept))
        assert torch.equal(found, logits(base, pack))
    # One image's features under all phrases, as the server does it.
    one = kept.select(torch.tensor([1])).expand(3)
    several = decode_pack(base, pack, one, encode_phrases(base, pack, tokens, one))
    again = segment_logits(base, pack, images(3)[[1, 1, 1]], tokens)
    assert_near(several, again)


@cases(VISUAL, bases=DEEP_CLIPSEG)
def test_o_dead_depths_are_not_folded(base: FrozenVLSM, variant: str) -> None:
    """V_10 is seen by the decoder alone; V_11 would be seen by nothing."""
    pack = made(base, variant, depth=12, n=2).fold()
    assert len(pack.visual) == 11
    assert pack.text is None or len(pack.text) == 12
    changed = pack.visual.clone()
    changed[10] = changed[10].flip(-1)
    assert not torch.equal(logits(base, dataclasses.replace(pack, visual=changed)), logits(base, pack))


@cases(TEXTUAL, bases=DEEP_BASES)
def test_every_text_depth_matters(base: FrozenVLSM, variant: str) -> None:
    pack = made(base, variant, depth=12, n=2).fold()
    last = logits(base, pack)
    changed = pack.text.clone()
    changed[11] = changed[11].flip(-1)
    assert not torch.equal(logits(base, dataclasses.replace(pack, text=changed)), last)
