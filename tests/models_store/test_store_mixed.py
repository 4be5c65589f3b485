"""Rows of different checkpoints in one batch get what each gets alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mixed_cases import BASES, PIXELS, assert_each_as_alone, pack_of, rows
from store_bases import images, tiny_base
from torch import Tensor

from models_store.heads import HeadMode
from models_store.mixed import Row, segment_rows
from models_store.mixed.decoding import apply_heads
from models_store.mixed.images import encode_images
from models_store.mixed.prompts import MixedPrompts, stack_prompts
from models_store.packs import ZERO_SHOT
from models_store.vlsm import Decoded, FrozenVLSM, ImageFeatures, TextFeatures, Tokens


class Grouping:
    """The frozen model, taking no mixed prompts, as a backend with fixed inputs does."""

    takes_mixed_prompts = False

    def __init__(self, vlsm: FrozenVLSM):
        self._vlsm = vlsm

    def __getattr__(self, name: str) -> Any:
        return getattr(self._vlsm, name)

    def encode_image(
        self, pixels: Tensor, visual_prompts: Tensor | None = None, *, pooled: bool = False
    ) -> ImageFeatures:
        assert not isinstance(visual_prompts, MixedPrompts)
        return self._vlsm.encode_image(pixels, visual_prompts, pooled=pooled)

    def encode_text(self, tokens: Tokens, text_prompts: Tensor | None = None) -> TextFeatures:
        assert not isinstance(text_prompts, MixedPrompts)
        return self._vlsm.encode_text(tokens, text_prompts)


@pytest.mark.parametrize("base", BASES)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_each_row_is_the_row_run_alone(base: str, data: st.DataObject) -> None:
    mix = data.draw(rows(base))
    with torch.inference_mode():
        assert_each_as_alone(BASES[base](), mix, segment_rows(BASES[base](), mix))


@pytest.mark.parametrize("base", BASES)
@settings(max_examples=4, deadline=None)
@given(data=st.data(), most=st.integers(1, 3))
def test_models_without_mixed_prompts_get_groups(base: str, data: st.DataObject, most: int) -> None:
    mix = data.draw(rows(base))
    with torch.inference_mode():
        found = segment_rows(Grouping(BASES[base]()), mix, most=most)
        assert_each_as_alone(BASES[base](), mix, found)


class Counted(Grouping):
    """The frozen model, keeping how many rows each pass had."""

    takes_mixed_prompts = True

    def __init__(self, vlsm: FrozenVLSM):
        super().__init__(vlsm)
        self.passes: dict[str, list[int]] = {"image": [], "text": [], "decode": []}

    def encode_image(
        self, pixels: Tensor, visual_prompts: Tensor | MixedPrompts | None = None, *, pooled: bool = False
    ) -> ImageFeatures:
        self.passes["image"].append(len(pixels))
        return self._vlsm.encode_image(pixels, visual_prompts, pooled=pooled)  # type: ignore[arg-type]

    def encode_text(self, tokens: Tokens, text_prompts: Tensor | MixedPrompts | None = None) -> TextFeatures:
        self.passes["text"].append(len(tokens))
        return self._vlsm.encode_text(tokens, text_prompts)  # type: ignore[arg-type]

    def decode(self, image: ImageFeatures, text: TextFeatures) -> Decoded:
        self.passes["decode"].append(len(text))
        return self._vlsm.decode(image, text)


@torch.inference_mode()
def test_depths_and_numbers_share_passes() -> None:
    counted = Counted(tiny_base())
    none = HeadMode.NONE
    mix = [
        Row(pack_of("plain", "maple", 1, 3, HeadMode.MIX, 0), PIXELS[0], "a"),
        Row(pack_of("plain", "maple", 4, 3, HeadMode.ADD, 1), PIXELS[1], "a longer one"),
        Row(pack_of("plain", "vpt", 2, 3, none, 0), PIXELS[2], "a"),
        Row(pack_of("plain", "coop", 3, 5, none, 0), PIXELS[0], "b"),
        Row(ZERO_SHOT, PIXELS[0], "c"),
    ]
    assert_each_as_alone(tiny_base(), mix, segment_rows(counted, mix))
    # Visual prompts of three tokens, whatever their depth, and those without; one image for two rows.
    assert counted.passes == {"image": [3, 1], "text": [5], "decode": [3, 2]}


@torch.inference_mode()
def test_the_same_pack_is_stacked_once() -> None:
    pack = pack_of("plain", "maple", 2, 3, HeadMode.MIX, 0)
    assert stack_prompts([pack.text, pack.text]) is pack.text
    assert stack_prompts([None, None]) is None
    padded = stack_prompts([pack.text, None])
    assert isinstance(padded, MixedPrompts)
    assert (padded.depths, padded.numbers) == ((2, 0), (3, 0))


def test_visual_prompts_of_different_numbers_are_refused_by_the_tower() -> None:
    prompts = MixedPrompts(torch.zeros(2, 1, 3, 48), (1, 1), (3, 2))
    with pytest.raises(ValueError, match=r"\[2, 3\] tokens cannot share"):
        tiny_base().encode_image(images(2), prompts)
    with pytest.raises(ValueError, match="prompts of 2 rows do not fit 1 rows"):
        tiny_base().encode_text(tiny_base().tokenize(["a"]), prompts)


def test_a_model_that_takes_none_is_never_given_any() -> None:
    deep, flat = (pack_of("plain", "vpt", depth, 2, HeadMode.NONE, 0) for depth in (4, 1))
    found = encode_images(Grouping(tiny_base()), PIXELS[:2], [deep, flat])
    for pack, pixels, features in zip((deep, flat), PIXELS, found, strict=False):
        expected = tiny_base().encode_image(pixels[None], pack.visual)
        for one, other in zip(features.activations, expected.activations, strict=True):
            assert torch.allclose(one, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize("base", BASES)
def test_heads_of_every_mode_in_one_product(base: str) -> None:
    modes = (HeadMode.ADD, HeadMode.NONE, HeadMode.MIX, HeadMode.ADD)
    heads = [pack_of(base, "coop", 1, 2, mode, seed).head for seed, mode in enumerate(modes)]
    spec = BASES[base]().spec
    generator = torch.Generator().manual_seed(0)
    grid = torch.randn(4, spec.grid_channels, 4, 4, generator=generator)
    logits = torch.randn(4, 1, 64, 64, generator=generator)
    found = apply_heads(heads, Decoded(grid, logits))
    for row, head in enumerate(heads):
        one = Decoded(grid[row : row + 1], logits[row : row + 1])
        expected = one.logits if head is None else head(one)
        assert (found[row] - expected[0]).abs().max() <= 1e-5 * max(1.0, float(expected.abs().max()))
