"""CRIS's encoders and its way from features to a mask, with prompts in the text tower."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from models_store.cris.network import CRIS, STRIDE
from models_store.mixed.prompts import MixedPrompts
from models_store.prompting import first_eos, text_prompts
from models_store.vlsm import Decoded, ImageFeatures, TextFeatures, Tokens

LARGEST_ID = 2  # Its vocabulary's EOS is the largest id.


def encode_image(network: CRIS, pixels: Tensor, *, pooled: bool = False) -> ImageFeatures:
    """Encode images; the pooled feature is C5's mean over positions.

    Args:
        network: The frozen network.
        pixels: Normalised [B, 3, H, W].
        pooled: Whether the pooled feature is wanted.
    """
    maps, fine = network.maps(pixels)
    grid = (pixels.shape[-2] // STRIDE, pixels.shape[-1] // STRIDE)
    return ImageFeatures(maps, fine, grid, 0, maps[-1].mean(dim=(2, 3)) if pooled else None)


def encode_text(network: CRIS, tokens: Tokens, prompts: Tensor | MixedPrompts | None) -> TextFeatures:
    """Encode phrases with prompts P_0..P_{D-1} after BOS; P_k is part of layer k+1's input.

    One level more than there are layers is taken: it replaces the prompts' last outputs before the
    final norm, where only the decoder sees it. Padding is not masked here: it follows every word,
    and the causal mask hides what follows.

    Args:
        network: The frozen network.
        tokens: ids and mask [B, L].
        prompts: [D, n, d_t], [B, D, n, d_t], of each row its own, or None.
    """
    tower = network.backbone
    positions = tower.positional_embedding.shape[0]
    entering = text_prompts(prompts, len(tokens), positions)
    eos = first_eos(tokens.ids, LARGEST_ID)
    kept = entering.fit(tokens, positions)
    words, mask = entering.insert(tower.token_embedding(kept.ids), kept.mask)
    length = words.shape[1]
    hidden = words + tower.positional_embedding[:length]
    causal = torch.full((length, length), float("-inf"), dtype=hidden.dtype, device=hidden.device).triu(1)
    blocks = tower.transformer.resblocks
    for index, block in enumerate(blocks):
        hidden = block(entering.write(hidden, index), attn_mask=causal)
    hidden = tower.ln_final(entering.write(hidden, len(blocks)))
    at = entering.moved(eos).clamp(max=positions - 1)
    state = hidden[torch.arange(len(tokens), device=hidden.device), at] @ tower.text_projection
    return TextFeatures(state, hidden, mask == 0)


def decode(network: CRIS, image: ImageFeatures, text: TextFeatures) -> Decoded:
    """Draw the mask: neck, decoder, projector, then bicubic enlargement to the image's size."""
    if text.words is None or text.padding is None:
        raise ValueError("CRIS needs the features of every word")
    merged = network.neck(image.activations, text.cond)
    grid = network.decoder(merged, text.words, text.padding)
    drawn = network.proj(grid, text.cond, image.fine)
    rows, columns = image.grid
    size = (rows * STRIDE, columns * STRIDE)
    return Decoded(grid, F.interpolate(drawn, size, mode="bicubic", align_corners=True))
