"""The prompt rules read straight from the specification, in plain tensor arithmetic.

It shares nothing with the product but the weights: no module, no helper, no library attention.
Sections are those of the specification of the six strategies (text side, vision side, decoder).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

POSITIONS = 77


@dataclass
class Reading:
    """A plain CLIPSeg as a dictionary of weights and a few numbers."""

    weights: dict[str, Tensor]
    heads: int
    decoder_heads: int
    patch: int
    extract: tuple[int, ...]

    def _linear(self, name: str, x: Tensor) -> Tensor:
        out = x @ self.weights[f"{name}.weight"].T
        return out + self.weights[f"{name}.bias"] if f"{name}.bias" in self.weights else out

    def _norm(self, name: str, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / torch.sqrt(centred.square().mean(-1, keepdim=True) + 1e-5)
        return scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def _attention(self, name: str, x: Tensor, heads: int, allowed: Tensor | None) -> Tensor:
        rows, length, width = x.shape
        q, k, v = (
            self._linear(f"{name}.{part}_proj", x).reshape(rows, length, heads, -1).transpose(1, 2)
            for part in "qkv"
        )
        scores = q @ k.transpose(2, 3) / math.sqrt(width // heads)
        if allowed is not None:
            scores = scores.masked_fill(~allowed[:, None], -math.inf)
        mixed = (scores.softmax(-1) @ v).transpose(1, 2).reshape(rows, length, width)
        return self._linear(f"{name}.out_proj", mixed)

    def _encoder_layer(self, name: str, x: Tensor, allowed: Tensor | None = None) -> Tensor:
        x = x + self._attention(
            f"{name}.self_attn", self._norm(f"{name}.layer_norm1", x), self.heads, allowed
        )
        hidden = self._linear(f"{name}.mlp.fc1", self._norm(f"{name}.layer_norm2", x))
        return x + self._linear(f"{name}.mlp.fc2", hidden * torch.sigmoid(1.702 * hidden))

    def _layers(self, tower: str) -> int:
        prefix = f"clip.{tower}.encoder.layers."
        return 1 + max(int(k[len(prefix) :].split(".")[0]) for k in self.weights if k.startswith(prefix))

    def text(self, ids: Tensor, mask: Tensor, prompts: list[Tensor]) -> Tensor:
        """Section 1. ``prompts``: P_0..P_{D-1}, each [n, d_t]; returns cond [B, projection]."""
        name = "clip.text_model"
        rows, n = len(ids), len(prompts[0]) if prompts else 0
        embedded = self.weights[f"{name}.embeddings.token_embedding.weight"][ids]
        if n:
            if ids.shape[1] + n > POSITIONS:
                embedded = torch.cat([embedded[:, : POSITIONS - n - 1], embedded[:, -1:]], 1)
            inserted = prompts[0].repeat(rows, 1, 1)
            embedded = torch.cat([embedded[:, :1], inserted, embedded[:, 1:]], 1)
        length = embedded.shape[1]
        x = embedded + self.weights[f"{name}.embeddings.position_embedding.weight"][:length]
        real = torch.cat([torch.ones(rows, n, dtype=mask.dtype), mask], 1)[:, :length].bool()
        allowed = torch.ones(length, length).tril().bool()[None] & real[:, None, :]
        for layer in range(1, self._layers("text_model") + 1):
            if n and 2 <= layer <= len(prompts):
                x = x.clone()
                x[:, 1 : 1 + n] = prompts[layer - 1]
            x = self._encoder_layer(f"{name}.encoder.layers.{layer - 1}", x, allowed)
        x = self._norm(f"{name}.final_layer_norm", x)
        # The tiny vocabulary's largest id is EOS, so the largest id finds the first EOS.
        at = [min(int(row.argmax()) + n, POSITIONS - 1) for row in ids]
        return self._linear("clip.text_projection", x[range(rows), at])

    def image(self, pixels: Tensor, prompts: list[Tensor]) -> list[Tensor]:
        """Section 2. ``prompts``: V_0..V_{D-1}, each [n, d_v]; returns the decoder's features."""
        name = "clip.vision_model"
        n = len(prompts[0]) if prompts else 0
        rows, _, height, width = pixels.shape
        gh, gw = height // self.patch, width // self.patch
        kernel = self.weights[f"{name}.embeddings.patch_embedding.weight"].flatten(1)
        cells = pixels.reshape(rows, 3, gh, self.patch, gw, self.patch).permute(0, 2, 4, 1, 3, 5)
        patches = cells.reshape(rows, gh * gw, -1) @ kernel.T
        table = self.weights[f"{name}.embeddings.position_embedding.weight"]
        side = math.isqrt(len(table) - 1)
        if (gh, gw) != (side, side):
            square = table[1:].T.reshape(1, -1, side, side)
            resized = F.interpolate(square, size=(gh, gw), mode="bicubic", align_corners=False)
            table = torch.cat([table[:1], resized[0].flatten(1).T])
        start = self.weights[f"{name}.embeddings.class_embedding"].repeat(rows, 1, 1)
        x = torch.cat([start, patches], 1) + table
        if n:
            x = torch.cat([x, prompts[0].repeat(rows, 1, 1)], 1)
        x = self._norm(f"{name}.pre_layrnorm", x)
        features = []
        for layer in range(1, max(self.extract) + 2):
            x = self._encoder_layer(f"{name}.encoder.layers.{layer - 1}", x)
            if n and layer < len(prompts):
                x = x.clone()
                x[:, -n:] = prompts[layer]
            if layer - 1 in self.extract:
                features.append(x)
        return features

    def decode(self, features: list[Tensor], cond: Tensor, grid: tuple[int, int]) -> Tensor:
        """Section 3. Returns logits [B, 1, H, W]."""
        x = torch.zeros(())
        for i, feature in enumerate(reversed(features)):
            x = self._linear(f"decoder.reduces.{i}", feature) + x
            if i == 0:
                x = self._linear("decoder.film_mul", cond)[:, None] * x
                x = x + self._linear("decoder.film_add", cond)[:, None]
            name = f"decoder.layers.{i}"
            attended = self._attention(f"{name}.self_attn", x, self.decoder_heads, None)
            x = self._norm(f"{name}.layer_norm1", x + attended)
            hidden = self._linear(f"{name}.mlp.fc1", x).clamp(min=0)
            x = self._norm(f"{name}.layer_norm2", x + self._linear(f"{name}.mlp.fc2", hidden))
        patches = x[:, 1 : 1 + grid[0] * grid[1]]
        # A transposed convolution whose stride is its kernel stamps one tile per patch.
        stamp = self.weights["decoder.transposed_convolution.weight"][:, 0].flatten(1)
        tiles = (patches @ stamp).reshape(len(x), *grid, self.patch, self.patch)
        logits = tiles.permute(0, 1, 3, 2, 4).reshape(len(x), 1, grid[0] * self.patch, -1)
        return logits + self.weights["decoder.transposed_convolution.bias"]
