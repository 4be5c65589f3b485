"""Upsampling of CLIPSeg's decoder grid with the stem's finer maps.

CLIPSeg turns its 64-channel grid into logits by one transposed convolution at the patch
size, which cannot draw anything thinner than it has learned to stamp. Here each finer map
of the stem is modulated by the phrase (FiLM) and added on the way up, so that nuclei and
vessels keep their outline.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models_store.convolutions.lateral import PhraseLateral


class FineUpsampler(nn.Module):
    """Decoder grid and finer maps to logits.

    Args:
        grid_channels: Channels of the decoder grid.
        fine_channels: Channels of the finer maps, fine to coarse.
        widths: Working channels at each of those strides, fine to coarse.
        cond: Width of the conditional embedding.
    """

    def __init__(
        self, *, grid_channels: int, fine_channels: tuple[int, ...], widths: tuple[int, ...], cond: int
    ):
        super().__init__()
        self.laterals = nn.ModuleList(
            PhraseLateral(c, w, cond) for c, w in zip(fine_channels, widths, strict=True)
        )
        coarser = (*widths[1:], grid_channels)
        self.narrow = nn.ModuleList(nn.Conv2d(c, w, 1) for c, w in zip(coarser, widths, strict=True))
        self.smooth = nn.ModuleList(nn.Conv2d(w, w, 3, padding=1) for w in widths)
        self.logit = nn.Conv2d(widths[0], 1, 3, padding=1)

    def forward(self, grid: Tensor, fine: tuple[Tensor, ...], cond: Tensor) -> Tensor:
        """Draw the mask.

        Args:
            grid: [B, grid_channels, gh, gw].
            fine: Maps of the stem, fine to coarse.
            cond: [B, cond].

        Returns:
            Logits [B, 1, H, W] at the image's size (twice the finest map's).
        """
        # In the finer maps' order of memory, or every sum and convolution would turn one of them round.
        x = grid.contiguous(memory_format=torch.channels_last)
        for level in reversed(range(len(fine))):
            x = F.interpolate(self.narrow[level](x), size=fine[level].shape[-2:], mode="bilinear")
            # In place where a tensor is of no further use: these maps are most of a step's memory.
            x = x.add_(self.laterals[level](fine[level], cond)).relu_()
            x = x + self.smooth[level](x).relu_()
        return F.interpolate(self.logit(x), scale_factor=2.0, mode="bilinear")
