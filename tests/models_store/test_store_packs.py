"""Prompt packs and heads: identity, files, and what they refuse."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from safetensors.torch import load, save
from store_bases import PHRASES, images, tiny_base, tiny_cris, vectors
from torch.nn import functional as F

from models_store.errors import DamagedError, MismatchError
from models_store.heads import AdditiveHead, HeadMode, head_for, make_head
from models_store.packs import ZERO_SHOT, PromptPack, segment_logits
from models_store.vlsm import Decoded

hybrids = pytest.mark.parametrize("hybrid", [False, True])
MODES = [HeadMode.ADD, HeadMode.MIX]


def head_of(mode: HeadMode, channels: int = 16, seed: int = 0) -> AdditiveHead:
    head = make_head(channels, mode, torch.Generator().manual_seed(seed))
    assert head is not None
    return head.eval().requires_grad_(False)


@hybrids
def test_a_mixing_head_of_ratio_zero_is_the_base(hybrid: bool) -> None:
    base, head = tiny_base(hybrid=hybrid), head_of(HeadMode.MIX)
    tokens = base.tokenize(PHRASES)
    zero_shot = segment_logits(base, ZERO_SHOT, images(3), tokens)
    head.ratio.fill_(0)
    assert torch.equal(segment_logits(base, PromptPack(head=head), images(3), tokens), zero_shot)
    head.ratio.fill_(0.5)
    assert not torch.equal(segment_logits(base, PromptPack(head=head), images(3), tokens), zero_shot)


def test_what_the_heads_compute() -> None:
    decoded = Decoded(torch.randn(2, 16, 4, 6), torch.randn(2, 1, 64, 96))
    add, mix = head_of(HeadMode.ADD), head_of(HeadMode.MIX)
    up = F.interpolate(decoded.grid, scale_factor=16, mode="bilinear", align_corners=False)
    padded = F.pad(up, (2, 2, 2, 2), mode="replicate")
    new = F.conv2d(padded, add.conv.weight, add.conv.bias)
    torch.testing.assert_close(add(decoded), decoded.logits + new)
    mix.ratio.fill_(0.3)
    torch.testing.assert_close(mix(decoded), 0.7 * decoded.logits + 0.3 * new)
    mix.ratio.fill_(1)
    torch.testing.assert_close(mix(decoded), new)


def test_head_starts() -> None:
    head = head_of(HeadMode.MIX)
    assert head.ratio == 0.5
    bound = (16 * 25) ** -0.5
    assert 0.9 * bound < head.conv.weight.abs().max() <= bound
    assert make_head(16, HeadMode.NONE, torch.Generator()) is None
    with pytest.raises(ValueError, match="no head"):
        AdditiveHead(16, HeadMode.NONE)


@pytest.mark.parametrize("mode", list(HeadMode))
@pytest.mark.parametrize("parts", ["", "t", "v", "tv"])
def test_round_trip(mode: HeadMode, parts: str) -> None:
    pack = PromptPack(
        vectors(2, 3, 32) if "t" in parts else None,
        vectors(4, 1, 48) if "v" in parts else None,
        None if mode is HeadMode.NONE else head_of(mode),
    )
    again = PromptPack.from_tensors(load(save(pack.tensors())), mode)
    assert again.digest == pack.digest
    assert (again.text is None, again.visual is None) == (pack.text is None, pack.visual is None)
    assert again.head_mode is mode
    assert again.text_tokens == (3 if "t" in parts else 0)
    base = tiny_base()
    tokens = base.tokenize(PHRASES, pack.text_tokens)
    ours, theirs = (segment_logits(base, p, images(3), tokens) for p in (pack, again))
    assert torch.equal(ours, theirs)
    assert not any(p.requires_grad for p in again.head.parameters()) if again.head else True


@pytest.mark.parametrize("mode", MODES)
def test_a_head_that_reduces_first_keeps_its_sizes(mode: HeadMode) -> None:
    base = tiny_cris()
    pack = PromptPack(head=head_for(base.spec, mode, torch.Generator().manual_seed(1)))
    pack.check_fits(base.spec)
    again = PromptPack.from_tensors(load(save(pack.tensors())), mode)
    assert (again.head.channels, again.head.reduced) == (32, 64)
    assert again.digest == pack.digest
    tokens = base.tokenize(PHRASES)
    ours, theirs = (segment_logits(base, p, images(3), tokens) for p in (pack, again))
    assert torch.equal(ours, theirs)
    with pytest.raises(MismatchError, match=r"a head of 16 channels does not fit.*32 channels reduced to 64"):
        PromptPack(head=head_of(mode)).check_fits(base.spec)


def test_digests_tell_packs_apart() -> None:
    text, visual = vectors(1, 2, 32), vectors(1, 2, 48)
    add, mix, other = head_of(HeadMode.ADD), head_of(HeadMode.MIX), head_of(HeadMode.ADD, seed=1)
    packs = [
        ZERO_SHOT,
        PromptPack(text),
        PromptPack(text + 1),
        PromptPack(text.reshape(2, 1, 32)),
        PromptPack(visual=visual),
        PromptPack(visual=text),
        PromptPack(text, visual),
        PromptPack(text, visual, add),
        PromptPack(text, visual, mix),
        PromptPack(text, visual, other),
    ]
    assert len({p.digest for p in packs}) == len(packs)
    assert PromptPack(text.clone(), visual.clone(), add).digest == packs[7].digest


def test_visual_digest_is_of_the_visual_prompts_alone() -> None:
    visual = vectors(1, 2, 48)
    assert PromptPack(vectors(1, 2, 32)).visual_digest == ZERO_SHOT.visual_digest
    same = PromptPack(vectors(1, 2, 32), visual, head_of(HeadMode.ADD)).visual_digest
    assert PromptPack(visual=visual).visual_digest == same != ZERO_SHOT.visual_digest
    assert PromptPack(visual=visual * 2).visual_digest != same


@pytest.mark.parametrize("shape", [(4, 32), (1, 2, 4, 32), ()])
def test_prompts_of_another_rank_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DamagedError, match=r"expected \[depth, n, width\]"):
        PromptPack(torch.zeros(shape))


def test_fits() -> None:
    spec = tiny_base().spec
    for pack in (
        ZERO_SHOT,
        PromptPack(vectors(4, 38, 32), vectors(4, 100, 48), head_of(HeadMode.ADD)),
    ):
        pack.check_fits(spec)


@pytest.mark.parametrize(
    "pack",
    [
        PromptPack(vectors(1, 2, 48)),
        PromptPack(vectors(5, 2, 32)),
        PromptPack(vectors(1, 39, 32)),
        PromptPack(visual=vectors(1, 2, 32)),
        PromptPack(visual=vectors(5, 2, 48)),
        PromptPack(head=head_of(HeadMode.ADD, channels=64)),
        PromptPack(head=make_head(16, HeadMode.ADD, torch.Generator(), 8)),
    ],
)
def test_misfits_are_refused(pack: PromptPack) -> None:
    spec = dataclasses.replace(tiny_base().spec, name="that-base")
    with pytest.raises(MismatchError, match="that-base"):
        pack.check_fits(spec)


@pytest.mark.parametrize(
    "tensors",
    [
        {},
        {"head.conv.weight": torch.zeros(1, 16, 5, 5)},
        {"head.conv.weight": torch.zeros(1, 16, 3, 3), "head.conv.bias": torch.zeros(1)},
        {"head.conv.weight": torch.zeros(16), "head.conv.bias": torch.zeros(1)},
        {"head.conv.bias": torch.zeros(1)},
        {
            "head.conv.weight": torch.zeros(1, 8, 5, 5),
            "head.conv.bias": torch.zeros(1),
            "head.reduce.weight": torch.zeros(8),
        },
    ],
)
@pytest.mark.parametrize("mode", MODES)
def test_a_missing_or_broken_head_is_damage(tensors: dict[str, torch.Tensor], mode: HeadMode) -> None:
    with pytest.raises(DamagedError, match="head"):
        PromptPack.from_tensors(tensors, mode)
