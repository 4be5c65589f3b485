"""CRIS against a separate reading of its specification, part by part and whole, with prompts."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from cris_reading import CRISReading
from store_bases import PHRASES, PROCESSOR, enliven, images, lively, vectors
from tiny_models import byte_tokenizer
from torch import Tensor

from models_store.cris import towers
from models_store.cris.folder import read_spec
from models_store.cris.model import FrozenCRIS
from models_store.cris.network import CRISConfig, build_cris
from models_store.packs import PromptPack, encode_phrases, segment_logits
from models_store.strategies import make_learner

WIDTH = 32


@cache
def base() -> FrozenCRIS:
    """Twelve text layers as published, stages of different lengths, batch statistics of their own."""
    config = CRISConfig(
        image_size=64,
        resnet_layers=(1, 2, 1, 2),
        resnet_width=16,
        vocabulary=2 * 256 + 2,
        text_width=WIDTH,
        text_layers=12,
        text_heads=4,
        word_dim=48,
        neck=(16, 32, 40),
        decoder_layers=2,
        decoder_heads=8,
        decoder_hidden=24,
    )
    network = build_cris(config)
    lively(network)
    generator = torch.Generator().manual_seed(9)
    for name, buffer in network.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(std=0.2, generator=generator)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5, generator=generator)
    spec = read_spec(config, PROCESSOR | {"size": 64}, "reading-cris", "0" * 64)
    return FrozenCRIS(network=network, tokenizer=byte_tokenizer(), spec=spec)


@pytest.fixture(scope="module")
def reading() -> CRISReading:
    weights = {name: tensor.clone() for name, tensor in base().network.state_dict().items()}
    return CRISReading(weights, text_heads=4, pool_heads=8, decoder_heads=8)


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    """Wider than high, so that x and y cannot be taken for each other."""
    return images(3, height=64, width=128)


def same(ours: Tensor, theirs: Tensor) -> None:
    assert ours.shape == theirs.shape
    assert theirs.std() > 0.05, "too flat for the comparison to mean anything"
    assert (ours - theirs).abs().max() <= 2e-5 * max(1.0, float(theirs.abs().max()))


def read_text(
    reading: CRISReading, context: Tensor | None = None, phrases: list[str] = PHRASES, *, late: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    encoded = base().tokenizer(phrases, padding=True, return_tensors="pt", verbose=False)
    if context is not None and context.ndim == 3:
        context = context.repeat(len(phrases), 1, 1, 1)
    return reading.text(encoded["input_ids"], encoded["attention_mask"], context, late=late)


@pytest.mark.parametrize(("height", "width"), [(64, 128), (224, 224), (96, 64)])
def test_trunk_and_attention_pool(reading: CRISReading, height: int, width: int) -> None:
    seen = images(2, height=height, width=width)
    ours = base().encode_image(seen, pooled=True)
    theirs = reading.maps(seen)
    for map_, other, stride in zip(ours.activations, theirs, (8, 16, 32), strict=True):
        assert map_.shape[-2:] == (height // stride, width // stride)
        same(map_, other)
    same(ours.pooled, theirs[2].mean((2, 3)))


@pytest.mark.parametrize("phrases", [PHRASES, ["x" * 90, "liver"]], ids=["short", "cut"])
def test_text(reading: CRISReading, phrases: list[str]) -> None:
    ours = base().encode_text(base().tokenize(phrases))
    if len(phrases[0]) > 77:
        # Without prompts the reference does not cut; what is left of the phrase is read instead.
        tokens = base().tokenize(phrases)
        theirs = reading.text(tokens.ids, tokens.mask)
    else:
        theirs = read_text(reading, phrases=phrases)
    same(ours.cond, theirs[0])
    same(ours.words, theirs[1])
    assert torch.equal(ours.padding, theirs[2])


def test_neck_decoder_and_projector(reading: CRISReading, pixels: Tensor) -> None:
    network = base().network
    maps, (state, words, padding) = reading.maps(pixels), read_text(reading)
    merged = reading.neck(*maps, state)
    same(network.neck(maps, state), merged)
    grid = reading.decode(merged, words, padding)
    same(network.decoder(merged, words, padding), grid)
    same(network.proj(grid, state, ()), reading.project(grid, state))


@pytest.mark.parametrize("depth", [0, 1, 3, 11, 12])
@pytest.mark.parametrize("n", [1, 4])
def test_whole(reading: CRISReading, pixels: Tensor, depth: int, n: int) -> None:
    prompts = vectors(depth, n, WIDTH) if depth else None
    grid, logits = reading.logits(pixels, read_text(reading, prompts))
    image = base().encode_image(pixels)
    decoded = towers.decode(base().network, image, base().encode_text(base().tokenize(PHRASES, n), prompts))
    same(decoded.grid, grid)
    same(decoded.logits, logits)
    pack = PromptPack(text=prompts)
    same(segment_logits(base(), pack, pixels, base().tokenize(PHRASES, pack.text_tokens)), logits)


@pytest.mark.parametrize("words", [72, 75, 80, 90])
def test_long_phrases_beside_prompts(reading: CRISReading, words: int) -> None:
    phrases = ["x" * words, "liver"]
    prompts = vectors(3, 4, WIDTH)
    theirs = read_text(reading, prompts, phrases)
    ours = base().encode_text(base().tokenize(phrases, 4), prompts)
    assert ours.words.shape[1] <= 77
    same(ours.cond, theirs[0])
    same(ours.words, theirs[1])
    assert torch.equal(ours.padding, theirs[2])


@pytest.mark.parametrize("depth", [1, 2, 11, 12])
def test_l_depth_as_the_reference_counts_it(reading: CRISReading, depth: int) -> None:
    learner = enliven(make_learner("coop", base(), depth=depth, n=3, reference_depth=True))
    theirs = read_text(reading, learner.context.detach(), late=True)
    pack = learner.fold()
    assert pack.text.shape[0] == depth + 1
    ours = encode_phrases(base(), pack, base().tokenize(PHRASES, 3))
    same(ours.cond, theirs[0])
    same(ours.words, theirs[1])
    plain = encode_phrases(base(), PromptPack(text=learner.context.detach()), base().tokenize(PHRASES, 3))
    assert (plain.cond - ours.cond).abs().max() > 1e-3 or depth == 12


def test_l_the_write_after_the_last_layer_reaches_only_the_words(reading: CRISReading) -> None:
    context = vectors(12, 3, WIDTH)
    changed = context.clone()
    changed[11] += 1
    tokens = base().tokenize(PHRASES, 3)
    levels = [torch.cat([c[:1], c]) for c in (context, changed)]
    one, other = (base().encode_text(tokens, level) for level in levels)
    assert torch.equal(one.cond, other.cond)
    different = (one.words != other.words).any(-1)
    assert different[:, 1:4].all()
    assert different.sum() == 3 * len(PHRASES)
    state, words, _ = read_text(reading, changed, late=True)
    same(other.cond, state)
    same(other.words, words)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("depth", [2, 12])
def test_cocoop(reading: CRISReading, pixels: Tensor, late: bool, depth: int) -> None:
    learner = make_learner("cocoop", base(), depth=depth, n=2, hidden=5, reference_depth=late)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.normal_(std=0.5, generator=generator)
    image = base().encode_image(pixels, pooled=True)
    feature = reading.maps(pixels)[2].mean((2, 3))
    # A meta-net: Linear, ReLU, Linear without bias, LayerNorm without bias; one for each vector.
    state = learner.shift.nets.state_dict()
    hidden = [
        (feature @ state[f"{k}.0.weight"].T + state[f"{k}.0.bias"]).clamp(min=0) @ state[f"{k}.2.weight"].T
        for k in range(depth)
    ]
    shifts = [
        (x - x.mean(-1, keepdim=True))
        / torch.sqrt(x.var(-1, keepdim=True, correction=0) + 1e-5)
        * state[f"{k}.3.weight"]
        for k, x in enumerate(hidden)
    ]
    context = learner.context.detach() + torch.stack(shifts, 1)[:, :, None]
    theirs = read_text(reading, context, late=late)
    ours = encode_phrases(base(), learner.fold(), base().tokenize(PHRASES, 2), image)
    same(ours.cond, theirs[0])
    same(ours.words, theirs[1])
