"""CLIPSeg's steps as graphs.

One graph serves every pack: prompts of all depths enter as one input of full depth with a mask
that says which rows have which level, and no prompts are an input of length 0. The image graph
ends with the decoder's first linear maps, so what is kept of an image is a twelfth of the size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models_store.backends.blocks import PostNormLayer, PreNormLayer, write_after_first, write_last
from models_store.backends.families import FamilyParts
from models_store.backends.graphs import DECODER, IMAGE, POOLED, TEXT, Graph
from models_store.clipseg.model import FrozenCLIPSeg
from models_store.clipseg.refine import FineUpsampler
from models_store.clipseg.stem import HybridStem
from models_store.clipseg.towers import attention_bias


class ImageSteps(nn.Module):
    """Pixels to what the decoder reads, and the last hidden states that it needs."""

    positions: Tensor

    def __init__(self, base: FrozenCLIPSeg):
        super().__init__()
        network, tower = base.network, base.network.clip.vision_model
        side, patch = base.spec.image_size, base.spec.patch_size
        self.patches, self.first = tower.embeddings.patch_embedding, tower.embeddings.class_embedding
        like = torch.zeros(1, 1 + (side // patch) ** 2, base.spec.vision_width)
        # Interpolated once: the size is part of the graph.
        self.register_buffer("positions", tower.embeddings.interpolate_pos_encoding(like, side, side))
        self.norm = tower.pre_layrnorm
        self.wanted = list(network.extract_layers)
        self.layers = nn.ModuleList(PreNormLayer(x) for x in tower.encoder.layers[: max(self.wanted) + 1])
        self.reduces = nn.ModuleList(reversed(network.decoder.reduces))
        self.levels = base.spec.vision_layers

    def forward(self, pixels: Tensor, prompts: Tensor, own: Tensor) -> tuple[Tensor, ...]:
        """[B, 3, S, S], [B, D, n, d_v] and [B, D] to activations, finer maps and hidden states."""
        embedded = self.patches(pixels)
        patches, fine = embedded if isinstance(self.patches, HybridStem) else (embedded, ())
        first = self.first.expand(pixels.shape[0], 1, -1)
        x = torch.cat([first, patches.flatten(2).transpose(1, 2)], dim=1) + self.positions
        x = self.norm(torch.cat([x, prompts[:, 0]], dim=1))
        outputs = {}
        for index, layer in enumerate(self.layers):
            x = layer(x)
            if index + 1 < self.levels:
                x = write_last(x, prompts[:, index + 1], own[:, index + 1])
            if index in self.wanted:
                outputs[index] = x
        reduced = [reduce(outputs[index]) for reduce, index in zip(self.reduces, self.wanted, strict=True)]
        return (*reduced, *fine, x)


class PooledSteps(nn.Module):
    """The layers behind those the decoder needs, to the projected class token."""

    def __init__(self, base: FrozenCLIPSeg):
        super().__init__()
        tower = base.network.clip.vision_model
        self.begin, self.levels = max(base.network.extract_layers) + 1, base.spec.vision_layers
        self.layers = nn.ModuleList(PreNormLayer(x) for x in tower.encoder.layers[self.begin :])
        self.norm, self.project = tower.post_layernorm, base.network.clip.visual_projection

    def forward(self, hidden: Tensor, prompts: Tensor, own: Tensor) -> tuple[Tensor]:
        """Hidden states [B, T, d_v] with their prompts to [B, projection_dim]."""
        for index, layer in enumerate(self.layers, start=self.begin + 1):
            hidden = layer(hidden)
            if index < self.levels:
                hidden = write_last(hidden, prompts[:, index], own[:, index])
        return (self.project(self.norm(hidden[:, 0])),)


class TextSteps(nn.Module):
    """Tokens, with prompts in their places, to the conditional embedding."""

    def __init__(self, base: FrozenCLIPSeg):
        super().__init__()
        tower = base.network.clip.text_model
        self.words = tower.embeddings.token_embedding
        self.positions = tower.embeddings.position_embedding.weight
        self.layers = nn.ModuleList(PreNormLayer(x) for x in tower.encoder.layers)
        self.norm, self.project = tower.final_layer_norm, base.network.clip.text_projection

    def forward(self, ids: Tensor, mask: Tensor, at: Tensor, prompts: Tensor, own: Tensor) -> tuple[Tensor]:
        """[B, T], [B, T], [B], [B, D, N, d_t] and [B, D, N] to [B, projection_dim]."""
        x = write_after_first(self.words(ids), prompts[:, 0], own[:, 0]) + self.positions[: ids.shape[1]]
        bias = attention_bias(mask, x.dtype)
        for index, layer in enumerate(self.layers):
            x = layer(write_after_first(x, prompts[:, index], own[:, index]) if index else x, bias)
        at = at[:, None, None].expand(-1, 1, x.shape[2])
        return (self.project(self.norm(x.gather(1, at)[:, 0])),)


class DecoderSteps(nn.Module):
    """Reduced activations and a phrase to the grid and the logits."""

    places: Tensor

    def __init__(self, base: FrozenCLIPSeg):
        super().__init__()
        decoder = base.network.decoder
        self.multiply, self.add = decoder.film_mul, decoder.film_add
        self.layers = nn.ModuleList(PostNormLayer(x) for x in decoder.layers)
        self.conditional = int(decoder.conditional_layer)
        self.upsample = decoder.transposed_convolution
        self.side = base.spec.image_size // base.spec.patch_size
        self.register_buffer("places", torch.arange(1, 1 + self.side**2))

    def forward(self, cond: Tensor, *maps: Tensor) -> tuple[Tensor, Tensor]:
        """[B, projection_dim], activations [B, T, r] and finer maps to [B, r, gh, gw] and logits."""
        count = len(self.layers)
        x = torch.zeros_like(maps[0])
        for index, (activation, layer) in enumerate(zip(reversed(maps[:count]), self.layers, strict=True)):
            x = activation if index == 0 else activation + x
            if index == self.conditional:
                x = self.multiply(cond)[:, None] * x + self.add(cond)[:, None]
            x = layer(x)
        # By index, not by slice, so that their number is no expression of the number of tokens.
        grid = x.index_select(1, self.places).transpose(1, 2).unflatten(2, (self.side, self.side))
        if isinstance(self.upsample, FineUpsampler):
            return grid, self.upsample(grid, maps[count:], cond)
        return grid, self.upsample(grid)


def clipseg_graphs(base: FrozenCLIPSeg) -> list[Graph]:
    """The graphs of a CLIPSeg at its own image size."""
    spec, count = base.spec, len(base.network.extract_layers)
    hybrid = isinstance(base.network.clip.vision_model.embeddings.patch_embedding, HybridStem)
    activations = tuple(f"activation{i}" for i in range(count))
    fine = tuple(f"fine{i}" for i in range(3)) if hybrid else ()
    image, pooled, text, decoder = (
        steps(base).eval() for steps in (ImageSteps, PooledSteps, TextSteps, DecoderSteps)
    )
    images = {
        "pixels": torch.zeros(2, 3, spec.image_size, spec.image_size),
        "prompts": torch.zeros(2, spec.vision_layers, 3, spec.vision_width),
        "own": torch.ones(2, spec.vision_layers, dtype=torch.bool),
    }
    image_axes = {"pixels": {0: "batch"}, "prompts": {0: "batch", 2: "n"}, "own": {0: "batch"}}
    words = {
        "ids": torch.zeros(2, 7, dtype=torch.int64),
        "mask": torch.ones(2, 7, dtype=torch.int64),
        "at": torch.ones(2, dtype=torch.int64),
        "prompts": torch.zeros(2, spec.text_layers, 3, spec.text_width),
        "own": torch.ones(2, spec.text_layers, 3, dtype=torch.bool),
    }
    word_axes = {
        "ids": {0: "batch", 1: "length"},
        "mask": {0: "batch", 1: "length"},
        "at": {0: "batch"},
        "prompts": {0: "batch", 2: "n"},
        "own": {0: "batch", 2: "n"},
    }
    with torch.no_grad():
        made = image(*images.values())
    maps = dict(zip((*activations, *fine), made[:-1], strict=True))
    states = {"hidden": made[-1], "prompts": images["prompts"], "own": images["own"]}
    conds = {"cond": torch.zeros(2, spec.projection_dim)} | maps
    return [
        Graph(IMAGE, image, images, (*activations, *fine, "hidden"), image_axes),
        Graph(
            POOLED,
            pooled,
            states,
            ("pooled",),
            {
                "hidden": {0: "batch", 1: f"n+{1 + (spec.image_size // spec.patch_size) ** 2}"},
                "prompts": {0: "batch", 2: "n"},
                "own": {0: "batch"},
            },
        ),
        Graph(TEXT, text, words, ("cond",), word_axes),
        Graph(
            DECODER,
            decoder,
            conds,
            ("grid", "logits"),
            {name: {0: "batch"} | ({1: "tokens"} if name in activations else {}) for name in conds},
        ),
    ]


PARTS = FamilyParts(
    graphs=clipseg_graphs,
    words=lambda base: base.network.clip.text_model.embeddings.token_embedding.weight,
    eos=lambda base: int(base.network.config.text_config.eos_token_id),
    tokenizer=lambda base: base.tokenizer,
    config=lambda base: base.network.config.to_dict(),
)
