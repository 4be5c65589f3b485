import pytest
import torch

from models_store.packs import ZERO_SHOT, segment_logits
from models_store.strategies import make_learner
from models_store.vlsm import TextFeatures
from trainer.forward import PhraseBook, pack_logits

PHRASES = ["cell", "a much longer phrase about cells", "cell", "liver"]


@pytest.mark.parametrize("strategy", [None, "vpt", "coop"])
def test_logits_are_those_of_serving(tiny_hybrid, strategy):
    pack = ZERO_SHOT if strategy is None else make_learner(strategy, tiny_hybrid, depth=3, n=2).fold()
    side = tiny_hybrid.spec.image_size
    pixels = torch.randn(4, 3, side, side, generator=torch.Generator().manual_seed(0))
    book = PhraseBook(tiny_hybrid, PHRASES, prompt_tokens=pack.text_tokens)
    rows = book.rows(PHRASES)
    tokens = tiny_hybrid.tokenize(PHRASES, pack.text_tokens)
    expected = segment_logits(tiny_hybrid, pack, pixels, tokens)
    assert torch.allclose(
        pack_logits(tiny_hybrid, pack, pixels, book.encode(pack, rows)), expected, atol=1e-4
    )
    table = TextFeatures(book.encode_all(pack)[rows])
    assert torch.allclose(pack_logits(tiny_hybrid, pack, pixels, table), expected, atol=1e-4)


def test_each_distinct_phrase_is_encoded_once(tiny, monkeypatch):
    encoded = []
    original = tiny.encode_text
    monkeypatch.setattr(
        tiny, "encode_text", lambda tokens, prompts: encoded.append(len(tokens)) or original(tokens, prompts)
    )
    book = PhraseBook(tiny, PHRASES, prompt_tokens=0)
    book.encode(ZERO_SHOT, book.rows(PHRASES))
    assert encoded == [3]


def test_gradients_reach_text_prompts_through_every_row(tiny):
    learner = make_learner("coop", tiny, depth=2, n=2)
    book = PhraseBook(tiny, PHRASES, prompt_tokens=2)
    features = book.encode(learner.pack(), book.rows(["cell", "cell"]))
    features.cond.sum().backward()
    doubled = learner.context.grad.clone()
    learner.zero_grad()
    book.encode(learner.pack(), book.rows(["cell"])).cond.sum().backward()
    assert torch.allclose(doubled, 2 * learner.context.grad, rtol=1e-4, atol=1e-6)
