"""A convolutional stem in place of CLIPSeg's patch embedding: EfficientNet-lite0 up to stride 16."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models_store.convolutions.efficientnet import (
    FINE_STAGES,
    FIRST_CHANNELS,
    STAGES,
    SameConv,
    lite_stages,
)


class HybridStem(nn.Module):
    """Pixels to patch embeddings at stride 16, and the finer maps passed on the way.

    Args:
        width: Width d_v of the vision transformer behind the stem.
    """

    def __init__(self, width: int):
        super().__init__()
        self.first = SameConv(3, FIRST_CHANNELS, 3, 2)
        self.stages = lite_stages(STAGES)
        self.project = nn.Conv2d(STAGES[-1][3], width, 1)

    @property
    def weight(self) -> Tensor:
        """The last projection's weight, where transformers looks for a patch embedding's dtype."""
        return self.project.weight

    def forward(self, pixels: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Embed an image.

        Args:
            pixels: [B, 3, H, W], H and W multiples of 16.

        Returns:
            Patch embeddings [B, width, H/16, W/16] and the finer maps, fine to coarse:
            [B, 16, H/2, W/2], [B, 24, H/4, W/4], [B, 40, H/8, W/8].
        """
        x = F.relu6(self.first(pixels.contiguous(memory_format=torch.channels_last)))
        fine = []
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i in FINE_STAGES:
                fine.append(x)
        return self.project(x), tuple(fine)
