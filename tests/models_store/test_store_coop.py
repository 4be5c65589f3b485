"""CoOp: what its text prompts must and must not change."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from store_bases import PHRASES, deep_base, enliven, images, tiny_base, vectors
from torch import Tensor

from models_store.clipseg.model import FrozenCLIPSeg
from models_store.errors import BadInputError
from models_store.heads import HeadMode
from models_store.packs import ZERO_SHOT, PromptPack, segment_logits
from models_store.strategies.coop import CoOp

hybrids = pytest.mark.parametrize("hybrid", [False, True])


def layer_inputs(base: FrozenCLIPSeg, phrases: list[str], prompts: Tensor | None) -> list[Tensor]:
    """The tensor entering each layer of the text tower, and last what leaves it."""
    seen: list[Tensor] = []
    tower = base.network.clip.text_model
    hooks = [
        layer.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
        for layer in tower.encoder.layers
    ]
    n = 0 if prompts is None else prompts.shape[-2]
    base.encode_text(base.tokenize(phrases, n), prompts)
    for hook in hooks:
        hook.remove()
    return seen


@hybrids
@pytest.mark.parametrize("phrase", ["a photo of a", "x", "a much longer beginning of"])
def test_depth_one_from_words_is_the_longer_sentence(hybrid: bool, phrase: str) -> None:
    base, pixels = tiny_base(hybrid=hybrid), images(3)
    learner = CoOp(base, depth=1, initial_phrase=phrase)
    prompted = segment_logits(base, learner.fold(), pixels, base.tokenize(PHRASES, learner.context.shape[1]))
    longer = base.tokenize([f"{phrase} {words}" for words in PHRASES])
    assert torch.equal(prompted, segment_logits(base, ZERO_SHOT, pixels, longer))
    assert not torch.equal(prompted, segment_logits(base, ZERO_SHOT, pixels, base.tokenize(PHRASES)))


def test_initial_phrase_fixes_n_and_leaves_deeper_prompts_random() -> None:
    base = tiny_base()
    learner, random = (CoOp(base, depth=3, n=9, initial_phrase=p, seed=5) for p in ("abcde", None))
    words = base.embed_phrase("abcde")
    assert learner.context.shape == (3, 5, 32)
    assert random.context.shape == (3, 9, 32)
    assert torch.equal(learner.context[0], words)
    assert 0.01 < learner.context[1:].std() < 0.03
    with pytest.raises(BadInputError, match="no tokens"):
        CoOp(base, initial_phrase="")
    with pytest.raises(BadInputError, match="prompt tokens"):
        CoOp(base, initial_phrase="x" * 60)


def test_initial_phrases_fill_the_first_levels() -> None:
    base = tiny_base()
    learner, random = (CoOp(base, depth=3, n=3, initial_phrase=p, seed=5) for p in (["abc", "xyz"], None))
    assert torch.equal(learner.context[0], base.embed_phrase("abc"))
    assert torch.equal(learner.context[1], base.embed_phrase("xyz"))
    assert torch.equal(learner.context[2], random.context[2])
    assert torch.equal(CoOp(base, depth=3, n=3, initial_phrase=[], seed=5).context, random.context)
    with pytest.raises(BadInputError, match=r"equally many tokens.*'abc': 3, 'xy': 2"):
        CoOp(base, depth=3, initial_phrase=["abc", "xy"])
    with pytest.raises(BadInputError, match="3 initial phrases are more than the prompt depth of 2"):
        CoOp(base, depth=2, initial_phrase=["abc"] * 3)
    with pytest.raises(BadInputError, match="no tokens"):
        CoOp(base, depth=2, initial_phrase=["abc", ""])


def test_seed_decides_the_start() -> None:
    base = tiny_base()
    torch.manual_seed(1)
    first = CoOp(base, depth=2, head=HeadMode.MIX, seed=7).state_dict()
    torch.manual_seed(2)
    again = CoOp(base, depth=2, head=HeadMode.MIX, seed=7).state_dict()
    other = CoOp(base, depth=2, head=HeadMode.MIX, seed=8).state_dict()
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not torch.equal(first["context"], other["context"])
    assert not torch.equal(first["head.conv.weight"], other["head.conv.weight"])


@pytest.mark.parametrize(("depth", "k"), [(1, 0), (2, 0), (2, 1), (5, 1), (5, 4), (12, 0), (12, 4), (12, 11)])
def test_a_prompt_changes_nothing_before_its_layer(depth: int, k: int) -> None:
    base, prompts = deep_base(), vectors(depth, 3, 32)
    changed = prompts.clone()
    changed[k] += 1
    before, after = (layer_inputs(base, PHRASES, p) for p in (prompts, changed))
    assert len(before) == 12
    for layer in range(k):
        assert torch.equal(before[layer], after[layer]), f"P_{k} reached layer {layer + 1}"
    assert not torch.equal(before[k], after[k])


def test_prompts_enter_raw_after_bos_and_the_first_with_its_position() -> None:
    base, prompts = deep_base(), vectors(4, 3, 32)
    inputs = layer_inputs(base, PHRASES, prompts)
    positions = base.network.clip.text_model.embeddings.position_embedding.weight
    torch.testing.assert_close(inputs[0][:, 1:4], (prompts[0] + positions[1:4]).expand(3, -1, -1))
    for layer in (1, 2, 3):
        assert torch.equal(inputs[layer][:, 1:4], prompts[layer].expand(3, -1, -1))
    words = base.network.clip.text_model.embeddings.token_embedding(base.tokenize(PHRASES).ids)
    torch.testing.assert_close(inputs[0][:, 4:], words[:, 1:] + positions[4 : 3 + words.shape[1]])


@settings(max_examples=25, deadline=None)
@given(
    phrases=st.lists(st.text("abc xyz", min_size=0, max_size=90), min_size=2, max_size=4),
    depth=st.integers(1, 4),
    n=st.integers(1, 38),
)
def test_rows_do_not_depend_on_longer_ones(phrases: list[str], depth: int, n: int) -> None:
    base, prompts = tiny_base(), vectors(depth, n, 32)
    together = base.encode_text(base.tokenize(phrases, n), prompts).cond
    alone = [base.encode_text(base.tokenize([p], n), prompts).cond for p in phrases]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=2e-5)


@pytest.mark.parametrize("words", range(76, 89))
def test_overlong_text_fills_77_positions_and_keeps_its_end(words: int) -> None:
    base, n = deep_base(), 4
    phrase = "x" * words
    inputs = layer_inputs(base, [phrase], vectors(3, n, 32))
    assert all(x.shape == (1, 77, 32) for x in inputs)
    tower = base.network.clip.text_model
    eos = tower.embeddings.token_embedding.weight[-1] + tower.embeddings.position_embedding.weight[-1]
    torch.testing.assert_close(inputs[0][0, -1], eos)
    # Tokens not cut beforehand lead to the same.
    whole = base.tokenizer([phrase], return_tensors="pt", verbose=False)
    uncut = type(base.tokenize(["x"]))(whole["input_ids"], whole["attention_mask"])
    assert uncut.ids.shape[1] == words + 2
    cond = base.encode_text(base.tokenize([phrase], n), vectors(3, n, 32)).cond
    assert cond.isfinite().all()
    assert torch.equal(cond, base.encode_text(uncut, vectors(3, n, 32)).cond)


@hybrids
def test_without_prompt_tokens_it_is_the_base(hybrid: bool) -> None:
    base, pixels, tokens = tiny_base(hybrid=hybrid), images(3), tiny_base().tokenize(PHRASES)
    zero_shot = segment_logits(base, ZERO_SHOT, pixels, tokens)
    assert torch.equal(
        segment_logits(base, PromptPack(text=torch.zeros(3, 0, 32)), pixels, tokens), zero_shot
    )


def test_every_depth_up_to_the_last_matters() -> None:
    base, tokens = deep_base(), deep_base().tokenize(PHRASES, 2)
    conds = [base.encode_text(tokens, vectors(12, 2, 32)[:depth]).cond for depth in range(1, 13)]
    assert all((a - b).abs().max() > 1e-4 for a, b in pairwise(conds))


@hybrids
def test_the_image_is_left_alone(hybrid: bool) -> None:
    pack = enliven(CoOp(tiny_base(hybrid=hybrid), depth=3)).pack()
    assert pack.visual is None
    assert pack.head is None
    assert pack.visual_digest == ZERO_SHOT.visual_digest


@pytest.mark.parametrize(("depth", "n"), [(0, 4), (5, 4), (-1, 4), (1, 0), (1, 39)])
def test_sizes_outside_the_model_are_refused(depth: int, n: int) -> None:
    with pytest.raises(BadInputError, match=r"1\.\."):
        CoOp(tiny_base(), depth=depth, n=n)
