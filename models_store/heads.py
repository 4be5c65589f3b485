"""The additive head: a second, learned way from the decoder grid to logits."""

from __future__ import annotations

from enum import StrEnum

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models_store.vlsm import Decoded

KERNEL = 5


class HeadMode(StrEnum):
    """What is done with the head's logits h and the model's own."""

    NONE = "none"
    """The model's own logits; there is no head."""
    ADD = "add"
    """own + h."""
    MIX = "mix"
    """(1 - r) * own + r * h with a learned ratio r."""


class AdditiveHead(nn.Module):
    """Bilinear upsampling of the decoder grid, then a 5x5 convolution to one channel.

    Source: TuneVLSeg's "new last layer" for CLIPSeg (1,601 parameters, and the ratio where mixed).

    Args:
        channels: Channels of the decoder grid.
        mode: ``ADD`` or ``MIX``.
    """

    def __init__(self, channels: int, mode: HeadMode):
        super().__init__()
        if mode is HeadMode.NONE:
            raise ValueError("a head of mode 'none' is no head; use None")
        self.mode = mode
        self.conv = nn.Conv2d(channels, 1, KERNEL, padding="same", padding_mode="replicate")
        self.ratio = nn.Parameter(torch.tensor(0.5)) if mode is HeadMode.MIX else None

    def forward(self, decoded: Decoded) -> Tensor:
        """Logits [B, 1, H, W] from the grid and the model's own logits."""
        own, new = decoded.logits, self._convolve_upsampled(decoded.grid, decoded.logits.shape[-2:])
        if self.ratio is None:
            return own + new
        return (1 - self.ratio) * own + self.ratio * new

    def _convolve_upsampled(self, grid: Tensor, size: torch.Size) -> Tensor:
        """``conv(upsample(grid))`` as small matrix products, many times cheaper.

        Bilinear upsampling is ``A_y grid A_x^T``, and shifting by a tap with a replicated border picks
        rows of A. So each tap's channels are mixed on the small grid, and nothing but the result
        ever exists at full size.
        """
        bias = self.conv.bias
        assert bias is not None
        taps = torch.einsum("bchw,cyx->byhxw", grid, self.conv.weight[0])
        down, across = (
            _shifted_upsampling(grid, *lengths) for lengths in zip(grid.shape[2:], size, strict=True)
        )
        rows = taps.flatten(3) @ across  # [B, KERNEL, gh, W]
        return (down.T @ rows.flatten(1, 2))[:, None] + bias


def _shifted_upsampling(like: Tensor, coarse: int, fine: int) -> Tensor:
    """Linear upsampling shifted by each of the kernel's taps: [KERNEL * coarse, fine]."""
    identity = torch.eye(coarse, dtype=like.dtype, device=like.device)[None]
    upsampling = F.interpolate(identity, size=fine, mode="linear")[0]
    at = torch.arange(fine, device=like.device)
    shifts = range(-(KERNEL // 2), KERNEL // 2 + 1)
    return torch.cat([upsampling[:, (at + shift).clamp(0, fine - 1)] for shift in shifts])


def make_head(channels: int, mode: HeadMode, generator: torch.Generator) -> AdditiveHead | None:
    """A fresh head, or None for mode ``none``; torch's own initialisation, drawn from ``generator``."""
    if mode is HeadMode.NONE:
        return None
    head = AdditiveHead(channels, mode)
    bound = (channels * KERNEL * KERNEL) ** -0.5
    with torch.no_grad():
        for parameter in head.conv.parameters():
            parameter.uniform_(-bound, bound, generator=generator)
    return head
