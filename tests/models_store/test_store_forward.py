"""Without prompts, the frozen model against transformers' own CLIPSeg forward."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from store_bases import PHRASES, deep_base, frozen, images, tiny_base
from tiny_models import tiny_config

from models_store.clipseg.model import FrozenCLIPSeg
from models_store.packs import ZERO_SHOT, segment_logits
from models_store.vlsm import FrozenVLSM, ImageFeatures, Tokens

TOLERANCE = 1e-5


def library_logits(base: FrozenCLIPSeg, pixels: torch.Tensor, tokens: Tokens) -> torch.Tensor:
    with torch.no_grad():
        out = base.network(input_ids=tokens.ids, attention_mask=tokens.mask, pixel_values=pixels)
    return out.logits[:, None] if out.logits.ndim == 3 else out.logits


def check_against_library(base: FrozenCLIPSeg, pixels: torch.Tensor, phrases: list[str]) -> None:
    tokens = base.tokenize(phrases)
    ours, theirs = segment_logits(base, ZERO_SHOT, pixels, tokens), library_logits(base, pixels, tokens)
    assert ours.shape == theirs.shape
    assert theirs.std() > 0.1, "logits too flat for the comparison to mean anything"
    assert (ours - theirs).abs().max() <= TOLERANCE


@pytest.fixture(scope="module")
def refined() -> FrozenCLIPSeg:
    config = tiny_config()
    config.use_complex_transposed_convolution = True
    return frozen(config, "refined")


@pytest.fixture(scope="module")
def legacy() -> FrozenCLIPSeg:
    """As published: an EOS id of 2 in the configuration, which means the largest id."""
    config = tiny_config()
    config.text_config.eos_token_id = 2
    return frozen(config, "legacy")


@pytest.mark.parametrize("side", [64, 32, 128, 96])
def test_same_logits_at_any_square(side: int) -> None:
    check_against_library(tiny_base(), images(3, height=side, width=side), PHRASES)


@pytest.mark.parametrize("phrases", [["a"], PHRASES, ["", "x" * 75], ["one two three", "1", "éß"]])
def test_same_logits_for_padded_phrases(phrases: list[str]) -> None:
    check_against_library(deep_base(), images(len(phrases)), phrases)


def test_same_logits_of_the_refined_decoder(refined: FrozenCLIPSeg) -> None:
    check_against_library(refined, images(3), PHRASES)


def test_same_logits_with_the_legacy_eos(legacy: FrozenCLIPSeg) -> None:
    check_against_library(legacy, images(3), PHRASES)


def test_extracted_layers_keep_the_configured_order() -> None:
    config = tiny_config()
    config.extract_layers = [2, 0, 1]
    check_against_library(frozen(config, "unordered"), images(2), PHRASES[:2])


@pytest.mark.parametrize("hybrid", [False, True])
def test_satisfies_the_protocol(hybrid: bool) -> None:
    base = tiny_base(hybrid=hybrid)
    assert isinstance(base, FrozenVLSM)
    assert not any(p.requires_grad for p in base.network.parameters())
    assert not any(m.training for m in base.network.modules())


@pytest.mark.parametrize("hybrid", [False, True])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (32, 96), (96, 48), (16, 16), (80, 208)])
def test_logits_have_the_size_of_the_pixels(hybrid: bool, height: int, width: int) -> None:
    base = tiny_base(hybrid=hybrid)
    image = base.encode_image(images(2, height=height, width=width))
    decoded = base.decode(image, base.encode_text(base.tokenize(PHRASES[:2])))
    assert image.grid == (height // 16, width // 16)
    assert decoded.grid.shape == (2, 16, *image.grid)
    assert decoded.logits.shape == (2, 1, height, width)
    assert decoded.logits.isfinite().all()


@pytest.mark.parametrize("hybrid", [False, True])
def test_rows_do_not_see_each_other(hybrid: bool) -> None:
    base, pixels = deep_base(hybrid=hybrid), images(3)
    together = segment_logits(base, ZERO_SHOT, pixels, base.tokenize(PHRASES))
    for row, phrase in enumerate(PHRASES):
        alone = segment_logits(base, ZERO_SHOT, pixels[row : row + 1], base.tokenize([phrase]))
        torch.testing.assert_close(together[row : row + 1], alone, rtol=0, atol=2e-5)


@pytest.mark.parametrize("hybrid", [False, True])
def test_a_phrase_changes_the_mask(hybrid: bool) -> None:
    base, pixels = tiny_base(hybrid=hybrid), images(1)
    one = segment_logits(base, ZERO_SHOT, pixels, base.tokenize(["liver"]))
    other = segment_logits(base, ZERO_SHOT, pixels, base.tokenize(["lungs"]))
    assert (one - other).abs().max() > 0.01


@pytest.mark.parametrize("hybrid", [False, True])
def test_one_phrase_serves_all_images(hybrid: bool) -> None:
    base, pixels = tiny_base(hybrid=hybrid), images(3)
    one = segment_logits(base, ZERO_SHOT, pixels, base.tokenize(["liver"]))
    each = segment_logits(base, ZERO_SHOT, pixels, base.tokenize(["liver"] * 3))
    torch.testing.assert_close(one, each, rtol=0, atol=1e-5)


@pytest.mark.parametrize("hybrid", [False, True])
def test_features_expand_and_select_rows(hybrid: bool) -> None:
    base = tiny_base(hybrid=hybrid)
    text = base.encode_text(base.tokenize(PHRASES))

    def logits(image: ImageFeatures) -> torch.Tensor:
        assert len(image) == 3
        return base.decode(image, text).logits

    one, pair = base.encode_image(images(1)), base.encode_image(images(2))
    thrice = base.encode_image(images(1).repeat(3, 1, 1, 1))
    torch.testing.assert_close(logits(one.expand(3)), logits(thrice), rtol=0, atol=1e-5)
    rows = torch.tensor([1, 0, 1])
    swapped = base.encode_image(images(2)[rows])
    torch.testing.assert_close(logits(pair.select(rows)), logits(swapped), rtol=0, atol=1e-5)


def test_layers_the_decoder_never_reads_are_not_run() -> None:
    base, calls = deep_base(), Counter[int]()
    hooks = [
        layer.register_forward_hook(lambda *_, index=index: calls.update([index]))
        for index, layer in enumerate(base.network.clip.vision_model.encoder.layers, start=1)
    ]
    segment_logits(base, ZERO_SHOT, images(1), base.tokenize(["liver"]))
    for hook in hooks:
        hook.remove()
    assert len(hooks) == 12
    assert calls == dict.fromkeys(range(1, 11), 1)


def test_a_phrase_longer_than_the_positions_is_cut() -> None:
    base = tiny_base()
    tokens = base.tokenize(["x" * 200, "liver"])
    assert tokens.ids.shape == (2, 77)
    assert tokens.ids[0, -1] == base.tokenizer.eos_token_id
    check_against_library(base, images(2), ["x" * 200, "liver"])


def test_rows_keep_their_own_end_where_padding_differs_from_it() -> None:
    base = tiny_base()
    eos, pad = base.tokenizer.eos_token_id, 0
    tokens = base.tokenize(["x" * 74, "y" * 60])
    ids = torch.where(tokens.mask.bool(), tokens.ids, pad)
    assert tokens.ids.shape[1] == 76
    prompts = torch.ones(1, 20, 32)
    padded = base.encode_text(Tokens(ids, tokens.mask), prompts).cond
    usual = base.encode_text(tokens, prompts).cond
    assert ids[1, -1] == pad
    assert eos != pad
    torch.testing.assert_close(padded, usual, rtol=0, atol=1e-5)
