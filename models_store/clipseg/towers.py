"""The two encoders of CLIPSeg, run layer by layer so that prompts can enter.

Composed from transformers' submodules, never from its top-level forward, which runs both
encoders under ``no_grad``. The rules of insertion are those of the benchmark (CoOp: Zhou et
al., 2022; deep text prompts: Khattak et al., MaPLe, 2023; VPT: Jia et al., 2022).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from transformers import CLIPSegForImageSegmentation

from models_store.clipseg.stem import HybridStem
from models_store.clipseg.tuned_layers import (
    PatchAttention,
    attend_patches,
    first_layer,
    layer_of_patches,
)
from models_store.mixed.prompts import MixedPrompts
from models_store.prompting import first_eos, per_depth, text_prompts
from models_store.vlsm import ImageFeatures, TextFeatures, Tokens


def attention_bias(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Causal and padding mask [B, 1, L, L] to be added to attention scores."""
    length = mask.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=mask.device).tril()
    allowed = causal & mask.bool()[:, None, None, :]
    return torch.zeros(allowed.shape, dtype=dtype, device=mask.device).masked_fill(
        ~allowed, torch.finfo(dtype).min
    )


def encode_text(
    network: CLIPSegForImageSegmentation, tokens: Tokens, prompts: Tensor | MixedPrompts | None
) -> TextFeatures:
    """Encode phrases, with prompts P_0..P_{D-1} right after BOS.

    P_0 receives position embeddings like any word and moves the words right by n; P_k replaces
    the hidden state at those positions before layer k+1, raw.

    Args:
        network: The frozen network.
        tokens: ids and mask [B, L].
        prompts: [D, n, d_t], [B, D, n, d_t], of each row its own, or None.
    """
    tower, text_config = network.clip.text_model, network.config.text_config
    positions = text_config.max_position_embeddings
    entering = text_prompts(prompts, len(tokens), positions)
    eos = first_eos(tokens.ids, text_config.eos_token_id)
    kept = entering.fit(tokens, positions)

    words, mask = entering.insert(tower.embeddings.token_embedding(kept.ids), kept.mask)
    hidden = tower.embeddings(inputs_embeds=words)
    bias = attention_bias(mask, hidden.dtype)
    for index, layer in enumerate(tower.encoder.layers):
        hidden = layer(entering.write(hidden, index), attention_mask=bias)
    hidden = tower.final_layer_norm(hidden)
    at = entering.moved(eos).clamp(max=positions - 1)
    pooled = hidden[torch.arange(len(tokens), device=hidden.device), at]
    return TextFeatures(network.clip.text_projection(pooled))


@dataclass(frozen=True)
class EmbeddedImage:
    """Images on their way into the vision tower: all that is done before a prompt can enter.

    Attributes:
        tokens: Class token, patches and positions [B, 1 + gh*gw, d_v].
        fine: Maps of a convolutional stem at finer strides, fine to coarse; empty without one.
        grid: Rows and columns (gh, gw) of the patch grid.
        first: What these tokens do among themselves in the first layer; made for deep prompts only.
    """

    tokens: Tensor
    fine: tuple[Tensor, ...]
    grid: tuple[int, int]
    first: PatchAttention | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> EmbeddedImage:
        """The same with every tensor changed."""
        first = None if self.first is None else self.first.map(change)
        return EmbeddedImage(change(self.tokens), tuple(map(change, self.fine)), self.grid, first)


def embed_image(network: CLIPSegForImageSegmentation, pixels: Tensor, depth: int) -> EmbeddedImage:
    """All of normalised pixels [B, 3, H, W] that visual prompts of a depth leave as it is, to be kept."""
    embedded = embed_pixels(network, pixels)
    if depth < 2:
        return embedded
    tower = network.clip.vision_model
    first = attend_patches(tower.encoder.layers[0], tower.pre_layrnorm(embedded.tokens))
    return replace(embedded, first=first)


def embed_pixels(network: CLIPSegForImageSegmentation, pixels: Tensor) -> EmbeddedImage:
    """Embed normalised pixels [B, 3, H, W]."""
    embeddings = network.clip.vision_model.embeddings
    if isinstance(embeddings.patch_embedding, HybridStem):
        patches, fine = embeddings.patch_embedding(pixels)
    else:
        patches, fine = embeddings.patch_embedding(pixels), ()
    grid = (patches.shape[2], patches.shape[3])
    tokens = torch.cat(
        [
            embeddings.class_embedding.expand(pixels.shape[0], 1, -1).to(patches.dtype),
            patches.flatten(2).transpose(1, 2),
        ],
        dim=1,
    )
    position = embeddings.interpolate_pos_encoding(tokens, *pixels.shape[-2:])
    return EmbeddedImage(tokens + position, fine, grid)


def encode_image(
    network: CLIPSegForImageSegmentation,
    pixels: Tensor | EmbeddedImage,
    prompts: Tensor | MixedPrompts | None,
    *,
    pooled: bool = False,
) -> ImageFeatures:
    """Encode images, with prompts V_0..V_{D-1} as the last n tokens.

    V_0 is appended without a position and passes through the pre-LayerNorm; V_k replaces the
    last n tokens before layer k+1. Features are taken after that replacement, and layers that
    nobody reads are not run.

    Args:
        network: The frozen network.
        pixels: Normalised [B, 3, H, W], or what :func:`embed_pixels` made of them.
        prompts: [D, n, d_v], [B, D, n, d_v], of each row its own depth, or None.
        pooled: Whether to run all layers for the projected class token [B, projection_dim].
    """
    tower, wanted = network.clip.vision_model, network.extract_layers
    embedded = embed_pixels(network, pixels) if isinstance(pixels, Tensor) else pixels
    mixed = prompts if isinstance(prompts, MixedPrompts) else None
    if mixed is not None and len(set(mixed.numbers)) > 1:
        raise ValueError(f"visual prompts of {sorted(set(mixed.numbers))} tokens cannot share a batch")
    values = prompts.values if isinstance(prompts, MixedPrompts) else prompts
    levels = [level.to(embedded.tokens.dtype) for level in per_depth(values, len(embedded.tokens))]
    n = levels[0].shape[1] if levels else 0
    if embedded.first is not None:
        return ImageFeatures(_tuned(network, embedded, levels), embedded.fine, embedded.grid, n)
    hidden = torch.cat([embedded.tokens, levels[0]], dim=1) if levels else embedded.tokens
    hidden = tower.pre_layrnorm(hidden)
    layers = tower.encoder.layers if pooled else tower.encoder.layers[: max(wanted) + 1]
    outputs = {}
    for index, layer in enumerate(layers):
        hidden = layer(hidden, attention_mask=None)
        if index + 1 < len(levels):
            kept, old = hidden[:, : hidden.shape[1] - n], hidden[:, hidden.shape[1] - n :]
            new = levels[index + 1]
            deep = None if mixed is None else mixed.deeper_than(index + 1)
            hidden = torch.cat([kept, new if deep is None else torch.where(deep, new, old)], dim=1)
        if index in wanted:
            outputs[index] = hidden
    summary = network.clip.visual_projection(tower.post_layernorm(hidden[:, 0])) if pooled else None
    activations = tuple(outputs[index] for index in wanted)
    return ImageFeatures(activations, embedded.fine, embedded.grid, n, summary)


def _tuned(
    network: CLIPSegForImageSegmentation, embedded: EmbeddedImage, levels: list[Tensor]
) -> tuple[Tensor, ...]:
    """The extracted activations under prompts of at least two levels [B, n, d_v], all rows alike."""
    tower, wanted, first = network.clip.vision_model, network.extract_layers, embedded.first
    if first is None or len(levels) < 2:
        raise ValueError(f"an image embedded for deep prompts was given prompts of depth {len(levels)}")
    own, prompts = tower.pre_layrnorm(embedded.tokens), tower.pre_layrnorm(levels[0])
    outputs = {}
    for index, layer in enumerate(tower.encoder.layers[: max(wanted) + 1]):
        if index + 1 < len(levels):
            own = (
                first_layer(layer, own, first, prompts)
                if index == 0
                else layer_of_patches(layer, own, prompts)
            )
            prompts = levels[index + 1]
        else:
            both = layer(torch.cat([own, prompts], dim=1), attention_mask=None)
            own, prompts = both.split([own.shape[1], prompts.shape[1]], dim=1)
        if index in wanted:
            outputs[index] = torch.cat([own, prompts], dim=1)
    return tuple(outputs[index] for index in wanted)
