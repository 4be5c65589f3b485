"""CRIS read straight from its specification, in plain tensor arithmetic.

It shares nothing with the product but the weights, which go by the names of the original's
checkpoint files: no module, no helper, no library attention. Sections are those of the specification.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

POSITIONS = 77


@dataclass
class CRISReading:
    """A CRIS as a dictionary of weights and the numbers of heads."""

    weights: dict[str, Tensor]
    text_heads: int
    pool_heads: int
    decoder_heads: int

    # Pieces

    def _linear(self, name: str, x: Tensor) -> Tensor:
        out = x @ self.weights[f"{name}.weight"].T
        return out + self.weights[f"{name}.bias"] if f"{name}.bias" in self.weights else out

    def _layer_norm(self, name: str, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / torch.sqrt(centred.square().mean(-1, keepdim=True) + 1e-5)
        return scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def _batch_norm(self, name: str, x: Tensor) -> Tensor:
        """By the stored statistics, channels on axis 1."""
        view = (1, -1, *[1] * (x.ndim - 2))
        mean, var, weight, bias = (
            self.weights[f"{name}.{part}"].reshape(view)
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / torch.sqrt(var + 1e-5) * weight + bias

    def _conv(self, name: str, x: Tensor, stride: int = 1) -> Tensor:
        kernel = self.weights[f"{name}.weight"]
        return F.conv2d(x, kernel, self.weights.get(f"{name}.bias"), stride, kernel.shape[-1] // 2)

    def _block(self, name: str, x: Tensor) -> Tensor:
        """Section 4's "conv": convolution without bias, batch norm, ReLU."""
        return self._batch_norm(f"{name}.1", self._conv(f"{name}.0", x)).clamp(min=0)

    def _count(self, prefix: str) -> int:
        return 1 + max(int(k[len(prefix) :].split(".")[0]) for k in self.weights if k.startswith(prefix))

    @staticmethod
    def _halve(x: Tensor) -> Tensor:
        rows, channels, height, width = x.shape
        return x.reshape(rows, channels, height // 2, 2, width // 2, 2).mean((3, 5))

    @staticmethod
    def _double(x: Tensor) -> Tensor:
        size = (2 * x.shape[-2], 2 * x.shape[-1])
        return F.interpolate(x, size=size, mode="bilinear", align_corners=False)

    @staticmethod
    def _mix(q: Tensor, k: Tensor, v: Tensor, heads: int, allowed: Tensor | None) -> Tensor:
        """Softmax attention of [B, L, d] tensors; ``allowed`` [B or 1, Lq or 1, Lk]."""

        def split(x: Tensor) -> Tensor:
            return x.reshape(*x.shape[:2], heads, -1).permute(0, 2, 1, 3)

        scores = split(q) @ split(k).transpose(2, 3) / math.sqrt(q.shape[-1] // heads)
        if allowed is not None:
            scores = scores.masked_fill(~allowed[:, None], -math.inf)
        return (scores.softmax(-1) @ split(v)).permute(0, 2, 1, 3).flatten(2)

    def _packed(
        self, name: str, q: Tensor, k: Tensor, v: Tensor, heads: int, allowed: Tensor | None
    ) -> Tensor:
        """Attention whose three projections are stored one above the other."""
        pairs = zip(
            (q, k, v),
            self.weights[f"{name}.in_proj_weight"].chunk(3),
            self.weights[f"{name}.in_proj_bias"].chunk(3),
            strict=True,
        )
        projected = [x @ weight.T + bias for x, weight, bias in pairs]
        return self._linear(f"{name}.out_proj", self._mix(*projected, heads, allowed))

    # Section 2

    def maps(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """C3, C4, C5 of [B, 3, H, W]."""
        name = "backbone.visual"
        x = pixels
        for number, stride in ((1, 2), (2, 1), (3, 1)):
            x = self._conv(f"{name}.conv{number}", x, stride)
            x = self._batch_norm(f"{name}.bn{number}", x).clamp(min=0)
        x = self._halve(x)
        stages = []
        for stage in (1, 2, 3, 4):
            for index in range(self._count(f"{name}.layer{stage}.")):
                x = self._bottleneck(f"{name}.layer{stage}.{index}", x, stage > 1 and index == 0)
            stages.append(x)
        return stages[1], stages[2], self._pool(f"{name}.attnpool", stages[3])

    def _bottleneck(self, name: str, x: Tensor, halve: bool) -> Tensor:
        y = self._batch_norm(f"{name}.bn1", self._conv(f"{name}.conv1", x)).clamp(min=0)
        y = self._batch_norm(f"{name}.bn2", self._conv(f"{name}.conv2", y)).clamp(min=0)
        if halve:
            x, y = self._halve(x), self._halve(y)
        y = self._batch_norm(f"{name}.bn3", self._conv(f"{name}.conv3", y))
        if f"{name}.downsample.0.weight" in self.weights:
            x = self._batch_norm(f"{name}.downsample.1", self._conv(f"{name}.downsample.0", x))
        return (x + y).clamp(min=0)

    def _pool(self, name: str, x: Tensor) -> Tensor:
        rows, channels, height, width = x.shape
        residual = self._batch_norm(f"{name}.connect.1", self._conv(f"{name}.connect.0", x))
        learned = self.weights[f"{name}.positional_embedding"][-49:]
        square = learned.reshape(1, 7, 7, channels).permute(0, 3, 1, 2)
        positions = F.interpolate(square, size=(height, width), mode="bicubic", align_corners=False)
        tokens = (x + positions).permute(0, 2, 3, 1).reshape(rows, height * width, channels)
        q, k, v = (self._linear(f"{name}.{part}_proj", tokens) for part in "qkv")
        mixed = self._linear(f"{name}.c_proj", self._mix(q, k, v, self.pool_heads, None))
        return (mixed.reshape(rows, height, width, -1).permute(0, 3, 1, 2) + residual).clamp(min=0)

    # Section 3, and sections 1 and 6 of the strategies' specification

    def text(
        self, ids: Tensor, mask: Tensor, context: Tensor | None = None, *, late: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        """State [B, word_dim], words [B, L + n, d_t], padding [B, L + n].

        ``context`` [B, D, n, d_t] enters before layer k + 1; or, ``late``, as in the reference:
        after layer i, counted from 0, if i < D, the prompts become C[i].
        """
        rows = len(ids)
        x = self.weights["backbone.token_embedding.weight"][ids]
        n = 0 if context is None else context.shape[2]
        if context is not None:
            if ids.shape[1] + n > POSITIONS:
                x = torch.cat([x[:, : POSITIONS - n - 1], x[:, -1:]], 1)
            x = torch.cat([x[:, :1], context[:, 0], x[:, 1:]], 1)
        length = x.shape[1]
        x = x + self.weights["backbone.positional_embedding"][:length]
        causal = torch.ones(length, length).tril().bool()[None]
        name = "backbone.transformer.resblocks."
        for index in range(self._count(name)):
            if context is not None and not late and 1 <= index < context.shape[1]:
                x = torch.cat([x[:, :1], context[:, index], x[:, 1 + n :]], 1)
            x = self._text_layer(f"{name}{index}", x, causal)
            if context is not None and late and index < context.shape[1]:
                x = torch.cat([x[:, :1], context[:, index], x[:, 1 + n :]], 1)
        words = self._layer_norm("backbone.ln_final", x)
        at = [min(int(row.argmax()) + n, POSITIONS - 1) for row in ids]
        state = words[range(rows), at] @ self.weights["backbone.text_projection"]
        real = torch.cat([torch.ones(rows, n, dtype=mask.dtype), mask], 1)[:, :length]
        return state, words, real == 0

    def _text_layer(self, name: str, x: Tensor, causal: Tensor) -> Tensor:
        y = self._layer_norm(f"{name}.ln_1", x)
        x = x + self._packed(f"{name}.attn", y, y, y, self.text_heads, causal)
        hidden = self._linear(f"{name}.mlp.c_fc", self._layer_norm(f"{name}.ln_2", x))
        return x + self._linear(f"{name}.mlp.c_proj", hidden * torch.sigmoid(1.702 * hidden))

    # Section 4

    def neck(self, c3: Tensor, c4: Tensor, c5: Tensor, state: Tensor) -> Tensor:
        """[B, middle, h, w]."""
        gate = self._batch_norm("neck.txt_proj.1", self._linear("neck.txt_proj.0", state)).clamp(min=0)
        f5 = self._block("neck.f1_v_proj", c5) * gate[:, :, None, None]
        f5 = self._batch_norm("neck.norm_layer.0", f5).clamp(min=0)
        f4 = self._block("neck.f2_cat", torch.cat([self._block("neck.f2_v_proj", c4), self._double(f5)], 1))
        f3 = torch.cat([self._halve(self._block("neck.f3_v_proj", c3)), f4], 1)
        f3 = self._block("neck.f3_cat", f3)
        q5 = self._double(self._block("neck.f4_proj5", f5))
        q4, q3 = self._block("neck.f4_proj4", f4), self._block("neck.f4_proj3", f3)
        fq = self._block("neck.aggr", torch.cat([q3, q4, q5], 1))
        rows, _, height, width = fq.shape
        x_map = torch.linspace(-1, 1, width).repeat(rows, 1, height, 1)
        y_map = torch.linspace(-1, 1, height)[:, None].repeat(rows, 1, 1, width)
        fq = self._block("neck.coordconv.0.conv1", torch.cat([fq, x_map, y_map], 1))
        return self._block("neck.coordconv.1", fq)

    # Section 5

    @staticmethod
    def _wave(position: int, width: int) -> list[float]:
        angles = [position / 10000 ** (2 * (channel // 2) / width) for channel in range(width)]
        return [math.cos(a) if channel % 2 else math.sin(a) for channel, a in enumerate(angles)]

    def decode(self, fq: Tensor, words: Tensor, padding: Tensor) -> Tensor:
        """[B, d, h, w]."""
        rows, d, height, width = fq.shape
        half = d // 2
        pos = torch.tensor(
            [self._wave(x, half) + self._wave(y, half) for y in range(height) for x in range(width)]
        )
        tpos = torch.tensor([self._wave(i, words.shape[2]) for i in range(words.shape[1])])
        v = fq.permute(0, 2, 3, 1).reshape(rows, height * width, d)
        for index in range(self._count("decoder.layers.")):
            name = f"decoder.layers.{index}"
            a = self._layer_norm(f"{name}.norm1", v)
            y = self._packed(f"{name}.self_attn", a + pos, a + pos, a, self.decoder_heads, None)
            v = v + self._layer_norm(f"{name}.self_attn_norm", y)
            b = self._layer_norm(f"{name}.norm2", v)
            y = self._packed(
                f"{name}.multihead_attn", b + pos, words + tpos, words, self.decoder_heads, ~padding[:, None]
            )
            v = v + self._layer_norm(f"{name}.cross_attn_norm", y)
            hidden = self._linear(f"{name}.ffn.0", self._layer_norm(f"{name}.norm3", v)).clamp(min=0)
            v = v + self._linear(f"{name}.ffn.4", self._layer_norm(f"{name}.ffn.3", hidden))
        v = self._layer_norm("decoder.norm", v)
        return v.reshape(rows, height, width, d).permute(0, 3, 1, 2)

    # Section 6

    def project(self, fq: Tensor, state: Tensor) -> Tensor:
        """Logits [B, 1, 4h, 4w]: every sample convolved with its own kernel."""
        x = self._block("proj.vis.1", self._double(fq))
        x = self._conv("proj.vis.4", self._block("proj.vis.3", self._double(x)))
        kernels = self._linear("proj.txt", state)
        drawn = [
            F.conv2d(image[None], kernel[:-1].reshape(1, -1, 3, 3), kernel[-1:], padding=1)
            for image, kernel in zip(x, kernels, strict=True)
        ]
        return torch.cat(drawn)

    def logits(self, pixels: Tensor, text: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """The decoder's map, and logits [B, 1, H, W] at the image's size."""
        state, words, padding = text
        grid = self.decode(self.neck(*self.maps(pixels), state), words, padding)
        drawn = self.project(grid, state)
        return grid, F.interpolate(drawn, size=pixels.shape[-2:], mode="bicubic", align_corners=True)
