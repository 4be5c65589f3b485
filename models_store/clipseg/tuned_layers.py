"""Vision layers for the tuning of deep visual prompts, without the work that nobody reads.

The sums are those of the plain layers, in another order:

* Where the next layer's prompts replace this layer's, what the prompt tokens themselves turn into is
  never read. They are keys and values for the patches and nothing else.
* What enters the first layer of an image is frozen. Softmax attention over patches and prompts is the
  same as over the prompts and *one* more key, which stands for all patches: its score is the logarithm
  of the sum of their exponentials, its value is their own attention (the merging step of Milakov and
  Gimelshein, "Online normalizer calculation for softmax", 2018). So the patches' own attention is kept,
  and neither it nor their queries, keys and values are gone through backwards.
* On a processor, products with frozen weights are 1x1 convolutions, which torch gives to oneDNN; its
  linear layers go to MKL, which was a tenth slower forwards and backwards (AMD EPYC, two threads).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.models.clipseg.modeling_clipseg import CLIPSegAttention, CLIPSegEncoderLayer


@dataclass(frozen=True)
class PatchAttention:
    """What the tokens of an image do among themselves in the first layer; per head, H heads of width d.

    Attributes:
        queries: [B, H, T, d], scaled.
        values: Their attention over one another [B, H, T, d].
        scores: Logarithm of the sum of the exponentials of their scores [B, H, T, 1].
    """

    queries: Tensor
    values: Tensor
    scores: Tensor

    def map(self, change: Callable[[Tensor], Tensor]) -> PatchAttention:
        """The same with every tensor changed."""
        return PatchAttention(change(self.queries), change(self.values), change(self.scores))


def attend_patches(layer: CLIPSegEncoderLayer, hidden: Tensor) -> PatchAttention:
    """The part of the first layer's attention that no prompt changes.

    Args:
        layer: The first layer.
        hidden: Its input without prompts [B, T, H*d].
    """
    attention = layer.self_attn
    normed = layer.layer_norm1(hidden)
    queries = _heads(attention, _product(attention.q_proj, normed)) * attention.scale
    keys, values = (
        _heads(attention, _product(project, normed)) for project in (attention.k_proj, attention.v_proj)
    )
    # The logarithm is wanted exactly even where products are of half precision.
    with torch.autocast(hidden.device.type, enabled=False):
        exact = torch.promote_types(queries.dtype, torch.float32)
        scores = queries.to(exact) @ keys.to(exact).transpose(2, 3)
        total = scores.logsumexp(dim=-1, keepdim=True)
        attended = (scores - total).exp_() @ values.to(exact)
    return PatchAttention(queries.contiguous(), attended.to(queries.dtype), total)


def first_layer(layer: CLIPSegEncoderLayer, hidden: Tensor, kept: PatchAttention, prompts: Tensor) -> Tensor:
    """The first layer's output for an image's own tokens, [B, T, H*d].

    Args:
        layer: The first layer.
        hidden: Its input without prompts [B, T, H*d].
        kept: Of this input, from :func:`attend_patches`.
        prompts: The prompts in its input [B, n, H*d].
    """
    attention = layer.self_attn
    normed = layer.layer_norm1(prompts)
    keys, values = (_heads(attention, project(normed)) for project in (attention.k_proj, attention.v_proj))
    scores = kept.queries @ keys.transpose(2, 3)  # [B, H, T, n]
    weights = torch.cat([kept.scores.to(scores.dtype), scores], dim=-1).softmax(dim=-1)
    attended = weights[..., :1] * kept.values + weights[..., 1:].to(values.dtype) @ values
    return _finished(layer, hidden, attended)


def layer_of_patches(layer: CLIPSegEncoderLayer, hidden: Tensor, prompts: Tensor) -> Tensor:
    """A layer's output for an image's own tokens alone, [B, T, H*d].

    Args:
        layer: Any layer.
        hidden: Its input without prompts [B, T, H*d].
        prompts: The prompts in its input [B, n, H*d].
    """
    attention = layer.self_attn
    own, others = layer.layer_norm1(hidden), layer.layer_norm1(prompts)
    queries = _heads(attention, _product(attention.q_proj, own))
    keys, values = (
        _heads(attention, torch.cat([_product(project, own), project(others)], dim=1))
        for project in (attention.k_proj, attention.v_proj)
    )
    attended = F.scaled_dot_product_attention(queries, keys, values, scale=attention.scale)
    return _finished(layer, hidden, attended)


def _heads(attention: CLIPSegAttention, tokens: Tensor) -> Tensor:
    """[B, T, H*d] as [B, H, T, d]."""
    return tokens.view(*tokens.shape[:2], -1, attention.head_dim).transpose(1, 2)


def _finished(layer: CLIPSegEncoderLayer, hidden: Tensor, attended: Tensor) -> Tensor:
    """What comes behind the attention [B, H, T, d] of a layer with the input [B, T, H*d]."""
    hidden = hidden + _product(layer.self_attn.out_proj, attended.transpose(1, 2).flatten(2))
    inner = layer.mlp.activation_fn(_product(layer.mlp.fc1, layer.layer_norm2(hidden)))
    return hidden + _product(layer.mlp.fc2, inner)


def _product(linear: nn.Linear, tokens: Tensor) -> Tensor:
    """A linear layer on tokens [B, T, c]."""
    if tokens.device.type != "cpu":
        result: Tensor = linear(tokens)
        return result
    rows = tokens.reshape(1, -1, 1, tokens.shape[2]).permute(0, 3, 1, 2)  # [1, c, B*T, 1], channels last
    product = F.conv2d(rows, linear.weight[:, :, None, None], linear.bias)
    return product.permute(0, 2, 3, 1).reshape(*tokens.shape[:2], -1)
