"""VPT: what its visual prompts must and must not change."""

from __future__ import annotations

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
from models_store.strategies.vpt import VPT

hybrids = pytest.mark.parametrize("hybrid", [False, True])


def layer_inputs(base: FrozenCLIPSeg, prompts: Tensor | None) -> list[Tensor]:
    """The tensor entering each layer of the vision tower that is run."""
    seen: list[Tensor] = []
    layers = base.network.clip.vision_model.encoder.layers
    hooks = [layer.register_forward_pre_hook(lambda _, args: seen.append(args[0])) for layer in layers]
    base.encode_image(images(2), prompts)
    for hook in hooks:
        hook.remove()
    return seen


def logits(base: FrozenCLIPSeg, visual: Tensor) -> Tensor:
    return segment_logits(base, PromptPack(visual=visual), images(3), base.tokenize(PHRASES))


@hybrids
@pytest.mark.parametrize("k", [0, 1, 4, 9, 10])
def test_a_prompt_changes_nothing_before_its_layer(hybrid: bool, k: int) -> None:
    base, prompts = deep_base(hybrid=hybrid), vectors(11, 3, 48)
    changed = prompts.clone()
    changed[k] = changed[k].flip(-1)
    before, after = (layer_inputs(base, p) for p in (prompts, changed))
    assert len(before) == 10
    for layer in range(min(k, 10)):
        assert torch.equal(before[layer], after[layer]), f"V_{k} reached layer {layer + 1}"
    if k < 10:
        assert not torch.equal(before[k], after[k])


def test_prompts_enter_raw_at_the_end_and_the_first_normalised() -> None:
    base, prompts = deep_base(), vectors(11, 3, 48)
    inputs, plain = layer_inputs(base, prompts), layer_inputs(base, None)
    first = base.network.clip.vision_model.pre_layrnorm(prompts[0])
    torch.testing.assert_close(inputs[0][:, -3:], first.expand(2, -1, -1))
    assert torch.equal(inputs[0][:, :-3], plain[0])
    for layer in range(1, 10):
        assert torch.equal(inputs[layer][:, -3:], prompts[layer].expand(2, -1, -1))


@pytest.mark.parametrize("depth", [1, 4, 5, 7, 8, 10, 11, 12])
def test_features_are_taken_after_the_replacement(depth: int) -> None:
    base, prompts = deep_base(), vectors(depth, 2, 48)
    features = base.encode_image(images(1), prompts)
    for layer, activation in zip((4, 7, 10), features.activations, strict=True):
        replaced = layer < depth and torch.equal(activation[0, -2:], prompts[layer])
        assert replaced == (depth > layer)


@hybrids
@pytest.mark.parametrize("depth", [1, 2, 12])
@settings(max_examples=6, deadline=None)
@given(scale=st.floats(0.5, 10), shift=st.floats(-3, 3))
def test_scale_and_shift_of_the_first_prompt_do_not_matter(
    hybrid: bool, depth: int, scale: float, shift: float
) -> None:
    base, prompts = deep_base(hybrid=hybrid), vectors(depth, 2, 48)
    changed = prompts.clone()
    changed[0] = changed[0] * scale + shift
    torch.testing.assert_close(logits(base, changed), logits(base, prompts), rtol=0, atol=1e-4)


def test_scale_of_the_last_prompt_matters() -> None:
    # It alone lives on in the residual stream; the layers' own LayerNorm hides the others' scale.
    prompts = vectors(3, 2, 48)
    changed = prompts.clone()
    changed[2] *= 2
    assert (logits(deep_base(), changed) - logits(deep_base(), prompts)).abs().max() > 1e-3


@hybrids
@settings(max_examples=15, deadline=None)
@given(depth=st.integers(1, 4), n=st.integers(1, 12), rows=st.integers(1, 5), columns=st.integers(1, 5))
def test_shapes_stay(hybrid: bool, depth: int, n: int, rows: int, columns: int) -> None:
    base = tiny_base(hybrid=hybrid)
    pixels = images(2, height=16 * rows, width=16 * columns)
    features = base.encode_image(pixels, vectors(depth, n, 48))
    assert features.prompts == n
    assert all(a.shape == (2, 1 + rows * columns + n, 48) for a in features.activations)
    decoded = base.decode(features, base.encode_text(base.tokenize(PHRASES[:2])))
    assert decoded.grid.shape == (2, 16, rows, columns)
    assert decoded.logits.shape == (2, 1, 16 * rows, 16 * columns)


@hybrids
def test_without_prompt_tokens_it_is_the_base(hybrid: bool) -> None:
    base = tiny_base(hybrid=hybrid)
    zero_shot = segment_logits(base, ZERO_SHOT, images(3), base.tokenize(PHRASES))
    assert torch.equal(logits(base, torch.zeros(3, 0, 48)), zero_shot)
    assert not torch.equal(logits(base, vectors(3, 1, 48)), zero_shot)


@hybrids
def test_depth_beyond_what_the_decoder_reads(hybrid: bool) -> None:
    """V_10 is seen by the decoder alone; V_11 by nothing."""
    base, prompts = deep_base(hybrid=hybrid), vectors(12, 2, 48)
    assert (logits(base, prompts[:11]) - logits(base, prompts[:10])).abs().max() > 1e-3
    changed = prompts.clone()
    changed[10] += 1
    assert (logits(base, changed[:11]) - logits(base, prompts[:11])).abs().max() > 1e-3
    assert torch.equal(logits(base, prompts), logits(base, prompts[:11]))


@pytest.mark.parametrize(("depth", "folded"), [(1, 1), (10, 10), (11, 11), (12, 11)])
def test_folding_drops_the_useless_depth(depth: int, folded: int) -> None:
    learner = enliven(VPT(deep_base(), depth=depth, n=2))
    visual = learner.fold().visual
    assert visual is not None
    assert torch.equal(visual, learner.context[:folded])
    segment_logits(deep_base(), learner.pack(), images(1), deep_base().tokenize(["a"])).sum().backward()
    gradients = learner.context.grad.abs().amax(dim=(1, 2))
    assert (gradients[:folded] > 0).all()
    assert (gradients[folded:] == 0).all()


def test_the_text_is_left_alone_and_the_head_adds() -> None:
    learner = enliven(VPT(tiny_base(), depth=2))
    assert learner.pack().text is None
    assert learner.pack().text_tokens == 0
    assert learner.fold().head_mode is HeadMode.ADD


@pytest.mark.parametrize(("depth", "n"), [(0, 4), (5, 4), (1, 0), (1, 39)])
def test_sizes_outside_the_model_are_refused(depth: int, n: int) -> None:
    with pytest.raises(BadInputError, match=r"1\.\."):
        VPT(tiny_base(), depth=depth, n=n)
