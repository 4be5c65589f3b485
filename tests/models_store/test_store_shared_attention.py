"""Shared-attention: who attends to whom, and what its layer computes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from store_bases import deep_base, enliven, tiny_base
from torch import Tensor
from torch.nn import functional as F

from models_store.errors import BadInputError
from models_store.strategies.shared_attention import SharedAttention

DEPTH, N = 3, 4


def learner(**options: Any) -> SharedAttention:
    made = enliven(SharedAttention(tiny_base(), depth=DEPTH, n=N, **({"feedforward": 24} | options)))
    return made.eval()


def both_halves(made: SharedAttention) -> Tensor:
    """Z [D, n, d_t + d_v] put together again from the prompts."""
    text, visual = made.prompts()
    assert (text.shape, visual.shape) == ((DEPTH, N, 32), (DEPTH, N, 48))
    return torch.cat([text, visual], -1).detach()


@pytest.mark.parametrize("unified", [False, True])
@pytest.mark.parametrize(("attend", "spreads"), [("token", False), ("tokens", True)])
def test_who_sees_a_changed_token(attend: str, spreads: bool, unified: bool) -> None:
    made = learner(attend=attend, unified=unified)
    before = both_halves(made)
    with torch.no_grad():
        made.context[1, 0] = made.context[1, 0].flip(-1)
    moved = (both_halves(made) - before).abs().amax(-1) > 1e-5
    expected = torch.zeros(DEPTH, N, dtype=torch.bool)
    expected[1] = True if spreads else torch.arange(N) == 0
    assert torch.equal(moved, expected)


def test_a_token_alone_is_mapped_as_the_specification_says() -> None:
    made = learner(attend="token")
    found = both_halves(made)
    with torch.no_grad():
        for k, layer in enumerate(made.layers):
            x, attention = made.context[k], layer.self_attn
            values = F.linear(layer.norm1(x), attention.in_proj_weight[160:], attention.in_proj_bias[160:])
            y = x + attention.out_proj(values)
            z = y + layer.linear2(layer.linear1(layer.norm2(y)).clamp(min=0))
            torch.testing.assert_close(found[k], z, rtol=1e-4, atol=1e-4)


def test_the_number_of_heads_matters_among_tokens_only() -> None:
    for attend, same in (("token", True), ("tokens", False)):
        few, many = (both_halves(learner(attend=attend, heads=heads)) for heads in (2, 16))
        assert torch.allclose(few, many, rtol=1e-4, atol=1e-4) is same


def test_one_token_is_the_same_either_way() -> None:
    alone, among = (
        enliven(SharedAttention(tiny_base(), depth=2, n=1, attend=attend)).eval().prompts()
        for attend in ("token", "tokens")
    )
    for a, b in zip(alone, among, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_dropout_is_for_training_alone() -> None:
    made = learner(dropout=0.5)
    assert torch.equal(both_halves(made), both_halves(made))
    made.train()
    assert not torch.equal(both_halves(made), both_halves(made))
    folded = made.fold()
    assert made.training
    assert torch.equal(folded.text, made.fold().text)
    torch.testing.assert_close(torch.cat([folded.text, folded.visual], -1), both_halves(made.eval()))


def test_both_halves_come_from_one_pass() -> None:
    made, calls = learner(dropout=0.5).train(), []
    for layer in made.layers:
        layer.register_forward_hook(lambda *_: calls.append(1))
    pack = made.pack()
    assert len(calls) == DEPTH
    (pack.text.sum() + pack.visual.sum()).backward()
    assert all(p.grad is not None for p in made.parameters() if p.ndim == 3)


def test_only_visual_prompts_lose_their_dead_depth() -> None:
    text, visual = SharedAttention(deep_base(), depth=12, n=1, feedforward=8).prompts()
    assert (len(text), len(visual)) == (12, 11)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"heads": 3}, "3 attention heads do not divide the shared width 80.*1, 2, 4, 5, 8, 10, 16, 20"),
        ({"heads": 0}, "0 attention heads"),
        ({"feedforward": 0}, "feedforward 0"),
        ({"dropout": 1.0}, r"outside 0\.\.1"),
        ({"dropout": -0.1}, r"outside 0\.\.1"),
        ({"attend": "all"}, "neither of token, tokens"),
    ],
)
def test_options_that_make_no_layer(options: dict[str, Any], told: str) -> None:
    with pytest.raises(BadInputError, match=told):
        SharedAttention(tiny_base(), **options)
