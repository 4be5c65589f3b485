"""How the benchmark's CRIS reads prompt depth, and its translation into ours."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from store_bases import PHRASES, enliven, images, tiny_cris
from torch import Tensor

from models_store.cris.model import FrozenCRIS
from models_store.errors import BadInputError, MismatchError
from models_store.packs import PromptPack, segment_logits
from models_store.strategies import make_learner
from models_store.strategies.coop import CoOp
from models_store.strategies.learner import PromptLearner
from models_store.vlsm import TextFeatures

LAYERS = 12
depths = pytest.mark.parametrize("depth", [1, 2, 5, 11, 12])


def base() -> FrozenCRIS:
    return tiny_cris(layers=LAYERS)


def late(strategy: str, depth: int, **options: object) -> PromptLearner:
    return enliven(make_learner(strategy, base(), depth=depth, n=2, reference_depth=True, **options))


def as_the_benchmark(context: Tensor, phrases: list[str]) -> TextFeatures:
    """Prompts overwritten *after* layer i, counted from 0, where i < D; context [D, n, d] or [B, D, n, d]."""
    tower, tokens = base().network.backbone, base().tokenize(phrases)
    rows = len(tokens)
    context = context.expand(rows, *context.shape[-3:])
    depth, n = context.shape[1:3]
    words = tower.token_embedding(tokens.ids)
    hidden = torch.cat([words[:, :1], context[:, 0], words[:, 1:]], 1)
    hidden = hidden + tower.positional_embedding[: hidden.shape[1]]
    length = hidden.shape[1]
    causal = torch.full((length, length), float("-inf")).triu(1)
    for i, block in enumerate(tower.transformer.resblocks):
        hidden = block(hidden, attn_mask=causal)
        if i < depth:
            hidden = torch.cat([hidden[:, :1], context[:, i], hidden[:, 1 + n :]], 1)
    hidden = tower.ln_final(hidden)
    at = tokens.ids.argmax(-1) + n
    padding = torch.cat([torch.zeros(rows, n, dtype=torch.bool), tokens.mask == 0], 1)
    return TextFeatures(hidden[range(rows), at] @ tower.text_projection, hidden, padding)


def check_same(found: TextFeatures, expected: TextFeatures) -> None:
    torch.testing.assert_close(found.cond, expected.cond, rtol=0, atol=1e-4)
    torch.testing.assert_close(found.words, expected.words, rtol=0, atol=1e-4)
    assert torch.equal(found.padding, expected.padding)


@depths
def test_l_late_coop_is_the_benchmarks(depth: int) -> None:
    learner = late("coop", depth)
    pack = learner.fold()
    assert len(pack.text) == depth + 1
    pack.check_fits(base().spec)
    check_same(
        base().encode_text(base().tokenize(PHRASES, 2), pack.text),
        as_the_benchmark(learner.context, PHRASES),
    )
    usual = CoOp(base(), depth=depth, n=2)
    usual.load_state_dict(learner.state_dict())
    plain = base().encode_text(base().tokenize(PHRASES, 2), usual.fold().text)
    assert not torch.allclose(plain.words, as_the_benchmark(learner.context, PHRASES).words, atol=1e-2)


@depths
@pytest.mark.parametrize("unified", [False, True])
def test_l_late_cocoop_is_the_benchmarks(depth: int, unified: bool) -> None:
    learner = late("cocoop", depth, hidden=6, unified=unified)
    image = base().encode_image(images(3), pooled=True)
    shifts = torch.stack([net(image.pooled) for net in learner.shift.nets], 1)
    context = learner.context + shifts.expand(3, depth, 32)[:, :, None]
    expected = as_the_benchmark(context, PHRASES)
    pack = learner.fold()
    found = base().encode_text(base().tokenize(PHRASES, 2), pack.text + pack.shift(image.pooled)[:, :, None])
    check_same(found, expected)
    tokens = base().tokenize(PHRASES, 2)
    decoded = base().decode(image, expected).logits
    torch.testing.assert_close(segment_logits(base(), pack, images(3), tokens), decoded, rtol=1e-4, atol=1e-3)


def test_the_write_after_the_last_layer_reaches_the_words_alone() -> None:
    pack = late("coop", LAYERS).fold()
    changed = pack.text.clone()
    changed[LAYERS] = changed[LAYERS].flip(-1)
    tokens = base().tokenize(PHRASES, 2)
    one, other = (base().encode_text(tokens, text) for text in (pack.text, changed))
    assert torch.equal(one.cond, other.cond)
    assert torch.equal(one.words[:, 3:], other.words[:, 3:])
    assert not torch.equal(one.words[:, 1:3], other.words[:, 1:3])


def test_a_level_beyond_the_final_norm_is_refused() -> None:
    PromptPack(torch.zeros(LAYERS + 1, 2, 32)).check_fits(base().spec)
    with pytest.raises(MismatchError, match="depth at most 13"):
        PromptPack(torch.zeros(LAYERS + 2, 2, 32)).check_fits(base().spec)
    clipseg = dataclasses.replace(base().spec, family="clipseg")
    with pytest.raises(MismatchError, match="depth at most 12"):
        PromptPack(torch.zeros(LAYERS + 1, 2, 32)).check_fits(clipseg)


@pytest.mark.parametrize("strategy", ["coop", "cocoop"])
def test_late_depth_is_for_cris(strategy: str, tiny: object) -> None:
    with pytest.raises(BadInputError, match=r"reference_depth.*family clipseg"):
        make_learner(strategy, tiny, reference_depth=True)


def test_visual_prompts_are_refused() -> None:
    with pytest.raises(MismatchError, match=r"tiny-cris.*takes no visual prompts"):
        PromptPack(visual=torch.zeros(1, 2, 0)).check_fits(base().spec)
