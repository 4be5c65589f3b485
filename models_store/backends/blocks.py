"""Transformer blocks as ONNX Runtime runs them best; the weights are the frozen network's own.

Only for export: attention is ONNX Runtime's fused operator, which plain torch cannot run.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.activations import QuickGELUActivation

from models_store.activations import QuickGELU

_SLOPE = 1.702


class Attention(nn.Module):
    """Self-attention of transformers' CLIPSeg; one product for queries, keys and values.

    Args:
        source: A ``CLIPSegAttention``.
    """

    def __init__(self, source: Any):
        super().__init__()
        parts = (source.q_proj, source.k_proj, source.v_proj)
        self.weight = nn.Parameter(torch.cat([part.weight for part in parts]).detach(), requires_grad=False)
        self.bias = nn.Parameter(torch.cat([part.bias for part in parts]).detach(), requires_grad=False)
        self.out = source.out_proj
        self.heads = int(source.num_heads)

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """[B, T, d], with ``bias`` [B, 1, T, T] added to the scores."""
        query, key, value = F.linear(x, self.weight).chunk(3, dim=-1)
        attended: Tensor = torch.onnx.ops.symbolic(
            "com.microsoft::MultiHeadAttention",
            (query, key, value, self.bias, None, bias),
            {"num_heads": self.heads},
            dtype=x.dtype,
            shape=query.shape,
            version=1,
        )
        return self.out(attended)


class FeedForward(nn.Module):
    """The two linear maps of a layer.

    Args:
        source: A ``CLIPSegMLP``.
    """

    def __init__(self, source: Any):
        super().__init__()
        self.first, self.second = source.fc1, source.fc2
        self.activation = source.activation_fn

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, d]."""
        x = self.first(x)
        if isinstance(self.activation, QuickGELU | QuickGELUActivation):
            # In the form that ONNX Runtime knows as one operator.
            return self.second(x * torch.sigmoid(_SLOPE * x))
        return self.second(self.activation(x))


class PreNormLayer(nn.Module):
    """A layer of the towers.

    Args:
        source: A ``CLIPSegEncoderLayer``.
    """

    def __init__(self, source: Any):
        super().__init__()
        self.first_norm, self.second_norm = source.layer_norm1, source.layer_norm2
        self.attention, self.feed = Attention(source.self_attn), FeedForward(source.mlp)

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """[B, T, d]."""
        x = x + self.attention(self.first_norm(x), bias)
        return x + self.feed(self.second_norm(x))


class PostNormLayer(nn.Module):
    """A layer of the decoder.

    Args:
        source: A ``CLIPSegDecoderLayer``.
    """

    def __init__(self, source: Any):
        super().__init__()
        self.first_norm, self.second_norm = source.layer_norm1, source.layer_norm2
        self.attention, self.feed = Attention(source.self_attn), FeedForward(source.mlp)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, d]."""
        x = self.first_norm(x + self.attention(x))
        return self.second_norm(x + self.feed(x))


def write_last(hidden: Tensor, prompts: Tensor, own: Tensor) -> Tensor:
    """Hidden states [B, T, d] whose last n tokens are prompts [B, n, d] where ``own`` [B] says so."""
    kept = hidden.shape[1] - prompts.shape[1]
    return torch.cat([hidden[:, :kept], torch.where(own[:, None, None], prompts, hidden[:, kept:])], dim=1)


def write_after_first(hidden: Tensor, prompts: Tensor, own: Tensor) -> Tensor:
    """Hidden states [B, T, d] with prompts [B, N, d] at 1..N, where ``own`` [B, N] says so."""
    behind = 1 + prompts.shape[1]
    new = torch.where(own[..., None], prompts, hidden[:, 1:behind])
    return torch.cat([hidden[:, :1], new, hidden[:, behind:]], dim=1)
