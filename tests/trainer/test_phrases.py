"""Phrases encoded for training and for measuring give what serving gives, and are not encoded twice."""

import pytest
import torch

from models_store.packs import ZERO_SHOT, decode_pack, segment_logits
from models_store.strategies import STRATEGIES, make_learner
from trainer.phrases import Phrases

PHRASES = ["cell", "a much longer phrase about cells", "cell", "liver"]


def counted(vlsm, monkeypatch):
    """Rows of every call of the text encoder from here on."""
    rows, original = [], vlsm.encode_text

    def encode(tokens, prompts=None):
        rows.append(len(tokens))
        return original(tokens, prompts)

    monkeypatch.setattr(vlsm, "encode_text", encode)
    return rows


@pytest.mark.parametrize("strategy", [None, *STRATEGIES])
def test_logits_are_those_of_serving(tiny_hybrid, strategy):
    pack = ZERO_SHOT if strategy is None else make_learner(strategy, tiny_hybrid, depth=3, n=2).fold()
    side = tiny_hybrid.spec.image_size
    pixels = torch.randn(4, 3, side, side, generator=torch.Generator().manual_seed(0))
    image = tiny_hybrid.encode_image(pixels, pack.visual, pooled=pack.needs_pooled)
    tokens = tiny_hybrid.tokenize(PHRASES, pack.text_tokens)
    expected = segment_logits(tiny_hybrid, pack, pixels, tokens)
    for text in (
        Phrases.under(tiny_hybrid, pack, PHRASES).features(pack, PHRASES, image),
        Phrases.for_training(tiny_hybrid, pack, PHRASES).features(pack, PHRASES, image),
    ):
        assert torch.allclose(decode_pack(tiny_hybrid, pack, image, text), expected, atol=1e-4)


@pytest.mark.parametrize(("strategy", "rows"), [("coop", [3]), ("maple", [3]), ("cocoop", [4])])
def test_each_distinct_phrase_is_encoded_once_per_step(tiny, monkeypatch, strategy, rows):
    pack = make_learner(strategy, tiny, depth=2, n=2).pack()
    pixels = torch.randn(4, 3, tiny.spec.image_size, tiny.spec.image_size)
    image = tiny.encode_image(pixels, pack.visual, pooled=True)
    encoded = counted(tiny, monkeypatch)
    phrases = Phrases.for_training(tiny, pack, PHRASES)
    for step in (1, 2):
        phrases.features(pack, PHRASES, image)
        assert encoded == rows * step


def test_phrases_without_prompts_are_encoded_once_for_good(tiny, monkeypatch):
    pack = make_learner("vpt", tiny, depth=2, n=2).pack()
    image = tiny.encode_image(torch.randn(4, 3, 64, 64), pack.visual)
    encoded = counted(tiny, monkeypatch)
    phrases = Phrases.for_training(tiny, pack, PHRASES)
    for _ in range(3):
        phrases.features(pack, PHRASES, image)
    assert sum(encoded) == 3


def test_gradients_reach_text_prompts_through_every_row(tiny):
    learner = make_learner("coop", tiny, depth=2, n=2)
    phrases = Phrases.for_training(tiny, learner.pack(), PHRASES)
    image = tiny.encode_image(torch.randn(2, 3, 64, 64))

    def gradient(asked):
        learner.zero_grad()
        phrases.features(learner.pack(), asked, image).cond.sum().backward()
        return learner.context.grad.clone()

    assert torch.allclose(gradient(["cell", "cell"]), 2 * gradient(["cell"]), rtol=1e-4, atol=1e-6)
