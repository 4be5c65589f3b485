"""Activations of the frozen towers, for less memory traffic than transformers' own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_SLOPE = 1.702


class QuickGELU(nn.Module):
    """``x * sigmoid(1.702 x)``, OpenAI CLIP's activation.

    Written as ``silu(1.702 x) / 1.702``. Where no gradient flows the result takes its argument's memory,
    which must be of no further use to the caller.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Activate [...]."""
        if x.requires_grad and torch.is_grad_enabled():
            result: Tensor = _Scaled.apply(x)  # type: ignore[no-untyped-call]
            return result
        return F.silu(x.mul_(_SLOPE), inplace=True).mul_(1 / _SLOPE)


class _Scaled(torch.autograd.Function):
    """The two scales cancel in the gradient, which autograd by itself would pass over twice."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        scaled = x * _SLOPE
        ctx.save_for_backward(scaled)
        return F.silu(scaled).mul_(1 / _SLOPE)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (scaled,) = ctx.saved_tensors
        result: Tensor = torch.ops.aten.silu_backward(gradients[0], scaled)
        return result
