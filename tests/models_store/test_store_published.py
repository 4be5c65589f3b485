"""At the size of the published CLIPSeg, with random weights."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from store_bases import images, lively, published_config, published_spec
from torch import Tensor
from transformers.models.clipseg.modeling_clipseg import CLIPSegDecoder

from models_store.clipseg import decoder, towers
from models_store.clipseg.network import build_network
from models_store.vlsm import ImageFeatures, Tokens


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    network = build_network(published_config()).requires_grad_(False)
    lively(network)
    return network


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    return images(2, height=352, width=352)


@pytest.fixture(scope="module")
def tokens() -> Tokens:
    """Two phrases of different lengths: BOS, words, EOS, and padding that is EOS again."""
    bos, eos = 49406, 49407
    ids = torch.tensor([[bos, 320, 1125, 539, 4972, eos], [bos, 2368, eos, eos, eos, eos]])
    return Tokens(ids, torch.tensor([[1] * 6, [1] * 3 + [0] * 3]))


@pytest.fixture(scope="module")
def image(network: torch.nn.Module, pixels: Tensor) -> ImageFeatures:
    calls = Counter[int]()
    hooks = [
        layer.register_forward_hook(lambda *_, index=index: calls.update([index]))
        for index, layer in enumerate(network.clip.vision_model.encoder.layers, start=1)
    ]
    features = towers.encode_image(network, pixels, None)
    for hook in hooks:
        hook.remove()
    assert calls == dict.fromkeys(range(1, 11), 1), "layers 11 and 12 need not run"
    return features


@pytest.fixture(scope="module")
def library(network: torch.nn.Module, pixels: Tensor, tokens: Tokens) -> dict[str, Tensor | list[Tensor]]:
    """Logits, activations and the text embedding of transformers' own forward."""
    activations: list[Tensor] = []
    hook = network.decoder.register_forward_pre_hook(lambda _, inputs: activations.extend(inputs[0]))
    out = network(input_ids=tokens.ids, attention_mask=tokens.mask, pixel_values=pixels)
    hook.remove()
    return {"logits": out.logits, "activations": activations, "cond": out.conditional_embeddings}


def test_the_size_is_the_published_one(network: torch.nn.Module) -> None:
    # CLIP ViT-B/16's 149,620,737 and the decoder's 1,073,153: the 150.7 million of the specification.
    assert sum(p.numel() for p in network.parameters()) == 150_693_890
    spec = published_spec()
    assert (spec.image_size, spec.patch_size) == (352, 16)
    assert (spec.text_width, spec.vision_width, spec.projection_dim, spec.grid_channels) == (
        512,
        768,
        512,
        64,
    )
    assert (spec.max_depth, spec.last_vision_layer, spec.text_positions) == (12, 10, 77)


def test_same_logits(
    network: torch.nn.Module, image: ImageFeatures, tokens: Tokens, library: dict[str, Tensor]
) -> None:
    ours = decoder.decode(network, image, towers.encode_text(network, tokens, None)).logits[:, 0]
    assert ours.shape == (2, 352, 352)
    assert library["logits"].std() > 0.1
    assert (ours - library["logits"]).abs().max() <= 1e-5


def test_same_logits_of_the_refined_decoder(
    network: torch.nn.Module, image: ImageFeatures, library: dict[str, Tensor]
) -> None:
    refined = CLIPSegDecoder(published_config(refined=True)).eval().requires_grad_(False)
    lively(refined, seed=5)
    theirs = refined(library["activations"], library["cond"]).logits
    plain, network.decoder = network.decoder, refined
    try:
        ours = decoder.decode(network, image, towers.TextFeatures(library["cond"])).logits[:, 0]
    finally:
        network.decoder = plain
    assert theirs.std() > 0.1
    assert (ours - theirs).abs().max() <= 1e-5
