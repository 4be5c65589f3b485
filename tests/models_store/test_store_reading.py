"""The product against a separate reading of the specification, with and without prompts."""

from __future__ import annotations

import pytest
import torch
from spec_reading import Reading
from store_bases import PHRASES, deep_base, images, vectors
from torch import Tensor

from models_store.packs import PromptPack, segment_logits

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def reading() -> Reading:
    weights = {k: v.clone() for k, v in deep_base().network.state_dict().items()}
    return Reading(weights, heads=4, decoder_heads=4, patch=16, extract=(3, 6, 9))


def read_logits(reading: Reading, pack: PromptPack, pixels: Tensor, phrases: list[str]) -> Tensor:
    encoded = deep_base().tokenizer(phrases, padding=True, return_tensors="pt", verbose=False)
    text = [] if pack.text is None else list(pack.text)
    visual = [] if pack.visual is None else list(pack.visual)
    cond = reading.text(encoded["input_ids"], encoded["attention_mask"], text)
    grid = (pixels.shape[2] // 16, pixels.shape[3] // 16)
    return reading.decode(reading.image(pixels, visual), cond, grid)


def compare(reading: Reading, pack: PromptPack, pixels: Tensor, phrases: list[str]) -> None:
    base = deep_base()
    ours = segment_logits(base, pack, pixels, base.tokenize(phrases, pack.text_tokens))
    theirs = read_logits(reading, pack, pixels, phrases)
    assert ours.std() > 0.1, "logits too flat for the comparison to mean anything"
    assert (ours - theirs).abs().max() <= TOLERANCE * max(1.0, float(theirs.abs().max()))


@pytest.mark.parametrize("depth", [1, 3, 11, 12])
@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize("sides", ["text", "visual", "both"])
def test_prompts(reading: Reading, depth: int, n: int, sides: str) -> None:
    spec = deep_base().spec
    text = vectors(depth, n, spec.text_width) if sides != "visual" else None
    visual = vectors(depth, n, spec.vision_width) if sides != "text" else None
    compare(reading, PromptPack(text, visual), images(3), PHRASES)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 96), (48, 80), (112, 32)])
def test_grids(reading: Reading, height: int, width: int) -> None:
    compare(reading, PromptPack(), images(3, height=height, width=width), PHRASES)
    pack = PromptPack(visual=vectors(5, 2, 48))
    compare(reading, pack, images(3, height=height, width=width), PHRASES)


@pytest.mark.parametrize("words", [72, 75, 80, 90])
@pytest.mark.parametrize("others", [[], ["liver"], ["y" * 70]])
def test_long_phrases_beside_prompts(reading: Reading, words: int, others: list[str]) -> None:
    phrases = ["x" * (words - 2), *others]
    pack = PromptPack(text=vectors(3, 4, 32))
    compare(reading, pack, images(len(phrases)), phrases)


def test_rows_with_prompts_of_their_own() -> None:
    base = deep_base()
    text, visual = vectors(3, 4, 2, 32), vectors(3, 5, 2, 48, seed=8)
    pixels, tokens = images(3), base.tokenize(PHRASES, 2)
    together = base.decode(base.encode_image(pixels, visual), base.encode_text(tokens, text)).logits
    for row in range(3):
        pack = PromptPack(text[row], visual[row])
        alone = segment_logits(base, pack, pixels[row : row + 1], base.tokenize([PHRASES[row]], 2))
        torch.testing.assert_close(together[row : row + 1], alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4, 32), (1, 2, 3, 4, 32)])
def test_prompts_that_fit_no_batch(shape: tuple[int, ...]) -> None:
    base = deep_base()
    with pytest.raises(ValueError, match="do not fit 3 rows"):
        base.encode_text(base.tokenize(PHRASES), vectors(*shape))
