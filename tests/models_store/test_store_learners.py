"""What every strategy owes: folding, isolation, gradients, and a state to go on from."""

from __future__ import annotations

import copy
import dataclasses
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from store_bases import deep_base, enliven, images, tiny_base, tiny_cris
from strategy_cases import BASES, DEEP_BASES, VARIANTS, assert_near, cases, logits, made
from torch import Tensor
from torch.nn import functional as F

from models_store.errors import BadInputError, UnknownNameError
from models_store.heads import HeadMode
from models_store.packs import ZERO_SHOT, PromptPack
from models_store.strategies import STRATEGIES, make_learner, strategies_for
from models_store.vlsm import FrozenVLSM

strategies = pytest.mark.parametrize("strategy", sorted(STRATEGIES))
named = pytest.mark.parametrize("name", list(BASES))


def check_folding(base: FrozenVLSM, variant: str, depth: int, n: int, head: HeadMode) -> None:
    learner = made(base, variant, depth=depth, n=n, head=head)
    folded = learner.fold()
    assert folded.head_mode is head
    folded.check_fits(base.spec)
    assert not any(t.requires_grad for t in folded.tensors().values())
    with torch.no_grad():
        live = logits(base, learner.eval().pack())
    # A copy's memory may be aligned otherwise, which matrix products can show in their last bits.
    assert_near(live, logits(base, folded))
    assert not torch.equal(live, logits(base, ZERO_SHOT))


@cases()
@pytest.mark.parametrize("depth", [1, 3])
def test_folded_is_the_trainable_path(base: FrozenVLSM, variant: str, depth: int) -> None:
    check_folding(base, variant, depth, 2, HeadMode.MIX)


@cases(STRATEGIES, bases=DEEP_BASES)
@pytest.mark.parametrize(("depth", "n", "head"), [(11, 2, HeadMode.NONE), (12, 4, HeadMode.ADD)])
def test_deep_prompts_fold_too(base: FrozenVLSM, variant: str, depth: int, n: int, head: HeadMode) -> None:
    check_folding(base, variant, depth, n, head)


@cases()
def test_folded_is_cut_loose(base: FrozenVLSM, variant: str) -> None:
    learner = made(base, variant, depth=2, head=HeadMode.MIX).train()
    folded = learner.fold()
    before, digest = copy.deepcopy(folded.tensors()), folded.digest
    assert learner.training
    assert all(p.requires_grad for p in learner.parameters())
    enliven(learner, seed=99)
    assert all(torch.equal(before[k], v) for k, v in folded.tensors().items())
    assert dataclasses.replace(folded).digest == digest
    assert learner.fold().digest != digest


@strategies
def test_half_precision_folds_to_single(strategy: str) -> None:
    learner = make_learner(strategy, tiny_base(), depth=2).half()
    assert {t.dtype for t in learner.fold().tensors().values()} == {torch.float32}
    assert {p.dtype for p in learner.parameters()} == {torch.float16}


def some_learner(base: FrozenVLSM) -> st.SearchStrategy[tuple[str, int, int, HeadMode]]:
    names = st.sampled_from(strategies_for(base.spec))
    return st.tuples(names, st.integers(1, 12), st.integers(1, 6), st.sampled_from(HeadMode))


@named
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_swapping_back_and_forth_leaves_no_trace(name: str, data: st.DataObject) -> None:
    base = DEEP_BASES[name]()
    a, b = (
        made(base, strategy, depth=depth, n=n, head=head, seed=seed).fold()
        for seed, (strategy, depth, n, head) in enumerate(data.draw(some_learner(base)) for _ in range(2))
    )
    zero_shot, alone = logits(base, ZERO_SHOT), logits(base, a)
    logits(base, b)
    assert torch.equal(logits(base, a), alone)
    assert torch.equal(logits(base, ZERO_SHOT), zero_shot)


@named
def test_concurrent_requests_equal_sequential_ones(name: str) -> None:
    base = BASES[name]()
    packs = [ZERO_SHOT] + [
        made(base, strategy, depth=depth, n=n, seed=seed).fold()
        for seed, strategy in enumerate(strategies_for(base.spec))
        for depth, n in [(3, 4), (1, 7)]
    ]
    requests = [packs[i % len(packs)] for i in range(3 * len(packs))]
    # Gradient mode and thread count are per thread in torch; a pool's threads start from defaults.
    threads = torch.get_num_threads()

    def run(pack: PromptPack) -> Tensor:
        torch.set_num_threads(threads)
        return logits(base, pack)

    expected = [run(pack) for pack in packs]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(run, requests))
    assert all(torch.equal(expected[i % len(packs)], found) for i, found in enumerate(together))


@cases()
@pytest.mark.parametrize("head", [HeadMode.NONE, HeadMode.MIX])
def test_only_the_learner_learns(base: FrozenVLSM, variant: str, head: HeadMode) -> None:
    network = base.network
    frozen_before = {k: v.clone() for k, v in network.state_dict().items()}
    learner = made(base, variant, depth=3, n=2, head=head).train()
    before = {k: v.clone() for k, v in learner.state_dict().items()}
    # As a trainer might that switches everything it finds.
    optimiser = torch.optim.AdamW([*learner.parameters(), *network.parameters()], lr=0.1)
    if base.spec.family == "cris":
        network.train()
    target = (images(3)[:, :1] > 0).float()
    F.binary_cross_entropy_with_logits(logits(base, learner.pack()), target).backward()
    for name, parameter in learner.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    assert all(p.grad is None for p in network.parameters())
    optimiser.step()
    assert all(not torch.equal(before[k], v) for k, v in learner.state_dict().items())
    after = network.state_dict()
    assert all(torch.equal(after[k], v) for k, v in frozen_before.items())
    assert not any(m.training for m in network.modules())


@cases(STRATEGIES)
def test_training_lowers_the_loss(base: FrozenVLSM, variant: str) -> None:
    learner = made(base, variant, lively=False, depth=3, n=2, head=HeadMode.NONE).train()
    optimiser = torch.optim.AdamW(learner.parameters(), lr=0.03)
    target = torch.ones(3, 1, 64, 64)
    losses = []
    for _ in range(8):
        torch.manual_seed(0)  # The same dropout, so that steps are comparable.
        loss = F.binary_cross_entropy_with_logits(logits(base, learner.pack()), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.002


@cases()
def test_seed_decides_the_start(base: FrozenVLSM, variant: str) -> None:
    strategy, own = VARIANTS[variant]
    states = []
    for noise, seed in ((1, 7), (2, 7), (3, 8)):
        torch.manual_seed(noise)
        states.append(make_learner(strategy, base, **own, depth=2, head=HeadMode.MIX, seed=seed).state_dict())
    first, again, other = states
    assert all(torch.equal(first[k], again[k]) for k in first)
    random = [k for k in first if k.endswith(("context", "conv.weight", "0.weight")) and first[k].ndim > 1]
    assert random
    assert all(not torch.equal(first[k], other[k]) for k in random)


@cases()
def test_state_goes_on_from_where_it_was(base: FrozenVLSM, variant: str) -> None:
    first, second = (made(base, variant, depth=2, head=HeadMode.MIX, seed=seed) for seed in (1, 2))
    assert first.fold().digest != second.fold().digest
    second.load_state_dict(first.state_dict())
    assert first.fold().digest == second.fold().digest


def test_default_heads_are_the_benchmarks() -> None:
    modes = {name: make_learner(name, tiny_base()).fold().head_mode for name in STRATEGIES}
    assert modes == {
        "coop": HeadMode.NONE,
        "cocoop": HeadMode.NONE,
        "vpt": HeadMode.ADD,
        "maple": HeadMode.MIX,
        "shared_separate": HeadMode.MIX,
        "shared_attention": HeadMode.MIX,
    }


def test_unknown_strategy_lists_the_known() -> None:
    with pytest.raises(UnknownNameError, match=r"'adapter'.*cocoop, coop, maple.*vpt"):
        make_learner("adapter", tiny_base())


@pytest.mark.parametrize("strategy", [name for name, made_by in STRATEGIES.items() if made_by.visual])
def test_visual_strategies_are_refused_where_there_is_no_place(strategy: str) -> None:
    with pytest.raises(BadInputError, match=rf"{strategy} needs visual.*tiny-cris.*takes coop, cocoop$"):
        make_learner(strategy, tiny_cris())
    make_learner(strategy, deep_base(), depth=12)
