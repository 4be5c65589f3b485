"""What every strategy owes: folding, isolation, gradients and parameter counts."""

from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from store_bases import PHRASES, deep_base, enliven, images, published_spec, tiny_base
from torch import Tensor
from torch.nn import functional as F

from models_store.clipseg.model import FrozenCLIPSeg
from models_store.errors import UnknownNameError
from models_store.heads import HeadMode
from models_store.packs import ZERO_SHOT, PromptPack, segment_logits
from models_store.strategies import STRATEGIES, make_learner
from models_store.strategies.learner import PromptLearner

hybrids = pytest.mark.parametrize("hybrid", [False, True])
strategies = pytest.mark.parametrize("strategy", sorted(STRATEGIES))
heads = pytest.mark.parametrize("head", list(HeadMode))


def logits(base: FrozenCLIPSeg, pack: PromptPack, rows: int = 3) -> Tensor:
    return segment_logits(base, pack, images(rows), base.tokenize(PHRASES[:rows], pack.text_tokens))


@hybrids
@strategies
@heads
@pytest.mark.parametrize(("depth", "n"), [(1, 1), (3, 4), (11, 2), (12, 4)])
def test_folded_is_the_trainable_path(
    hybrid: bool, strategy: str, head: HeadMode, depth: int, n: int
) -> None:
    base = deep_base(hybrid=hybrid)
    learner = enliven(make_learner(strategy, base, depth=depth, n=n, head=head))
    folded = learner.fold()
    assert folded.head_mode is head
    assert not any(t.requires_grad for t in folded.tensors().values())
    with torch.no_grad():
        live = logits(base, learner.eval().pack())
    assert torch.equal(live, logits(base, folded))
    assert not torch.equal(live, logits(base, ZERO_SHOT))


@strategies
def test_folded_is_cut_loose(strategy: str) -> None:
    base = tiny_base()
    learner = enliven(make_learner(strategy, base, depth=2, head=HeadMode.MIX)).train()
    folded = learner.fold()
    before, digest = copy.deepcopy(folded.tensors()), folded.digest
    assert learner.training
    assert all(p.requires_grad for p in learner.parameters())
    enliven(learner, seed=99)
    assert all(torch.equal(before[k], v) for k, v in folded.tensors().items())
    assert PromptPack(folded.text, folded.visual, folded.head).digest == digest
    assert learner.fold().digest != digest


@strategies
def test_half_precision_folds_to_single(strategy: str) -> None:
    learner = make_learner(strategy, tiny_base(), depth=2).half()
    assert {t.dtype for t in learner.fold().tensors().values()} == {torch.float32}
    assert {p.dtype for p in learner.parameters()} == {torch.float16}


@hybrids
@settings(max_examples=15, deadline=None)
@given(
    first=st.tuples(
        st.sampled_from(sorted(STRATEGIES)), st.integers(1, 12), st.integers(1, 6), st.sampled_from(HeadMode)
    ),
    second=st.tuples(
        st.sampled_from(sorted(STRATEGIES)), st.integers(1, 12), st.integers(1, 6), st.sampled_from(HeadMode)
    ),
)
def test_swapping_back_and_forth_leaves_no_trace(
    hybrid: bool, first: tuple[str, int, int, HeadMode], second: tuple[str, int, int, HeadMode]
) -> None:
    base = deep_base(hybrid=hybrid)
    a, b = (
        enliven(make_learner(name, base, depth=depth, n=n, head=head), seed).fold()
        for seed, (name, depth, n, head) in enumerate((first, second))
    )
    zero_shot, alone = logits(base, ZERO_SHOT), logits(base, a)
    logits(base, b)
    assert torch.equal(logits(base, a), alone)
    assert torch.equal(logits(base, ZERO_SHOT), zero_shot)


@hybrids
def test_concurrent_requests_equal_sequential_ones(hybrid: bool) -> None:
    base = deep_base(hybrid=hybrid)
    packs = [ZERO_SHOT] + [
        enliven(make_learner(name, base, depth=depth, n=n), seed).fold()
        for seed, (name, depth, n) in enumerate(
            [("coop", 3, 4), ("vpt", 11, 2), ("coop", 12, 1), ("vpt", 1, 7)]
        )
    ]
    requests = [packs[i % len(packs)] for i in range(40)]
    # Gradient mode and thread count are per thread in torch; a pool's threads start from defaults.
    threads = torch.get_num_threads()

    def run(pack: PromptPack) -> Tensor:
        torch.set_num_threads(threads)
        return logits(base, pack)

    expected = [run(pack) for pack in requests]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(run, requests))
    assert all(torch.equal(a, b) for a, b in zip(expected, together, strict=True))


@hybrids
@strategies
@heads
def test_only_the_learner_learns(hybrid: bool, strategy: str, head: HeadMode) -> None:
    base = tiny_base(hybrid=hybrid)
    frozen_before = {k: v.clone() for k, v in base.network.state_dict().items()}
    learner = enliven(make_learner(strategy, base, depth=3, n=2, head=head)).train()
    before = {k: v.clone() for k, v in learner.state_dict().items()}
    optimiser = torch.optim.AdamW([*learner.parameters(), *base.network.parameters()], lr=0.1)
    target = (images(3)[:, :1] > 0).float()
    loss = F.binary_cross_entropy_with_logits(logits(base, learner.pack()), target)
    loss.backward()
    for name, parameter in learner.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    assert all(p.grad is None for p in base.network.parameters())
    optimiser.step()
    assert all(not torch.equal(before[k], v) for k, v in learner.state_dict().items())
    after = base.network.state_dict()
    assert all(torch.equal(after[k], v) for k, v in frozen_before.items())
    assert not any(m.training for m in base.network.modules())


@hybrids
@strategies
def test_training_lowers_the_loss(hybrid: bool, strategy: str) -> None:
    base = tiny_base(hybrid=hybrid)
    learner = make_learner(strategy, base, depth=3, n=2).train()
    optimiser = torch.optim.AdamW(learner.parameters(), lr=0.05)
    target = torch.ones(3, 1, 64, 64)
    losses = []
    for _ in range(20):
        loss = F.binary_cross_entropy_with_logits(logits(base, learner.pack()), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.003


@pytest.mark.parametrize("depth", [1, 2, 11, 12])
@pytest.mark.parametrize(
    ("strategy", "per_depth"), [("coop", lambda d: 2_048 * d), ("vpt", lambda d: 3_072 * d)]
)
@pytest.mark.parametrize(("head", "more"), [(HeadMode.NONE, 0), (HeadMode.ADD, 1_601), (HeadMode.MIX, 1_602)])
def test_parameter_counts_at_published_size(
    depth: int, strategy: str, per_depth: Callable[[int], int], head: HeadMode, more: int
) -> None:
    class Sizes:
        """As much of a frozen model as a learner without an initial phrase looks at."""

        spec = published_spec()

    learner = make_learner(strategy, Sizes(), depth=depth, n=4, head=head)
    assert learner.parameter_count() == per_depth(depth) + more
    assert sum(t.numel() for t in learner.state_dict().values()) == learner.parameter_count()


def test_default_heads_are_the_benchmarks() -> None:
    assert make_learner("coop", tiny_base()).fold().head_mode is HeadMode.NONE
    assert make_learner("vpt", tiny_base()).fold().head_mode is HeadMode.ADD


def test_unknown_strategy_lists_the_known() -> None:
    with pytest.raises(UnknownNameError, match=r"'maple'.*coop, vpt"):
        make_learner("maple", tiny_base())


@strategies
def test_state_goes_on_from_where_it_was(strategy: str) -> None:
    def fresh(seed: int) -> PromptLearner:
        return make_learner(strategy, tiny_base(), depth=2, head=HeadMode.MIX, seed=seed)

    first, second = fresh(1), fresh(2)
    assert first.fold().digest != second.fold().digest
    second.load_state_dict(first.state_dict())
    assert first.fold().digest == second.fold().digest
