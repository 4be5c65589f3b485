"""The image trunks CRIS can stand on: pixels to C3, C4 and C5."""

from __future__ import annotations

import torch
from open_clip.modified_resnet import AttentionPool2d, ModifiedResNet
from torch import Tensor, nn
from torch.nn import functional as F

from models_store.convolutions.efficientnet import FIRST_CHANNELS, LAST_STAGES, STAGES, SameConv, lite_stages

# Channels of C3, C4 and C5.
LITE_MAPS = (40, 112, 320)
PRETRAINED_GRID = 7


class SpatialAttentionPool(nn.Module):
    """CLIP's attention pool kept spatial, with CRIS's residual branch ``connect``.

    Args:
        pool: The attention pool of CLIP's ResNet, whose weights are used.
    """

    def __init__(self, pool: AttentionPool2d):
        super().__init__()
        self.positional_embedding = pool.positional_embedding
        self.q_proj, self.k_proj = pool.q_proj, pool.k_proj
        self.v_proj, self.c_proj = pool.v_proj, pool.c_proj
        self.heads = pool.num_heads
        inputs, outputs = pool.c_proj.in_features, pool.c_proj.out_features
        self.connect = nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def positions(self, rows: int, columns: int) -> Tensor:
        """CLIP's positions of its 7x7 grid resized to this one, [rows * columns, inputs]."""
        learned = self.positional_embedding[1:].T.reshape(1, -1, PRETRAINED_GRID, PRETRAINED_GRID)
        return F.interpolate(learned, (rows, columns), mode="bicubic").flatten(2)[0].T

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, h, w] to C5 [B, outputs, h, w]; no mean token, every position attends to all."""
        rows, columns = x.shape[-2:]
        tokens = x.flatten(2).transpose(1, 2) + self.positions(rows, columns).to(x.dtype)
        q, k, v = (
            projection(tokens).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        pooled = self.c_proj(attended).transpose(1, 2).unflatten(2, (rows, columns))
        return F.relu(pooled + self.connect(x))


def resnet_maps(visual: ModifiedResNet, pixels: Tensor) -> tuple[Tensor, ...]:
    """C3, C4 and the attended C5 of CLIP's ResNet, at strides 8, 16 and 32."""
    x = visual.layer1(visual.stem(pixels))
    c3 = visual.layer2(x)
    c4 = visual.layer3(c3)
    return c3, c4, visual.attnpool(visual.layer4(c4))


class LiteTrunk(nn.Module):
    """EfficientNet-lite0 (Tan and Le, 2019) without its classifier, batch normalisation folded in."""

    def __init__(self) -> None:
        super().__init__()
        self.first = SameConv(3, FIRST_CHANNELS, 3, 2)
        self.stages = lite_stages((*STAGES, *LAST_STAGES))

    def forward(self, pixels: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Encode [B, 3, H, W], H and W multiples of 32.

        Returns:
            C3, C4, C5 with 40, 112 and 320 channels at strides 8, 16 and 32; and the finer maps
            with 16, 24 and 40 channels at strides 2, 4 and 8.
        """
        x = F.relu6(self.first(pixels.contiguous(memory_format=torch.channels_last)))
        outputs = []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        half, quarter, c3, _, c4, _, c5 = outputs
        return (c3, c4, c5), (half, quarter, c3)
