"""CRIS's neck: a feature pyramid gated by the pooled phrase."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models_store.cris.layers import CoordConv, conv_layer, linear_layer


class Neck(nn.Module):
    """C3, C4, C5 and the phrase's state to one map at C4's size.

    Args:
        word_dim: Width of the state.
        inputs: Channels of C3, C4, C5.
        outputs: Working channels at the three levels; the map has the middle one's.
    """

    def __init__(self, *, word_dim: int, inputs: tuple[int, int, int], outputs: tuple[int, int, int]):
        super().__init__()
        fine, middle, coarse = outputs
        self.txt_proj = linear_layer(word_dim, coarse)
        self.f1_v_proj = conv_layer(inputs[2], coarse)
        self.norm_layer = nn.Sequential(nn.BatchNorm2d(coarse), nn.ReLU())
        self.f2_v_proj = conv_layer(inputs[1], middle, 3)
        self.f2_cat = conv_layer(coarse + middle, middle)
        self.f3_v_proj = conv_layer(inputs[0], fine, 3)
        self.f3_cat = conv_layer(fine + middle, middle)
        self.f4_proj5 = conv_layer(coarse, middle, 3)
        self.f4_proj4 = conv_layer(middle, middle, 3)
        self.f4_proj3 = conv_layer(middle, middle, 3)
        self.aggr = conv_layer(3 * middle, middle)
        self.coordconv = nn.Sequential(CoordConv(middle, middle), conv_layer(middle, middle, 3))

    def forward(self, maps: tuple[Tensor, ...], state: Tensor) -> Tensor:
        """Merge.

        Args:
            maps: C3 [B, c3, 2h, 2w], C4 [B, c4, h, w], C5 [B, c5, h/2, w/2].
            state: [B, word_dim].

        Returns:
            [B, middle, h, w].
        """
        c3, c4, c5 = maps
        gate = self.txt_proj(state)[..., None, None]
        f5 = self.norm_layer(self.f1_v_proj(c5) * gate)
        f4 = self.f2_cat(torch.cat([self.f2_v_proj(c4), _double(f5)], dim=1))
        f3 = self.f3_cat(torch.cat([F.avg_pool2d(self.f3_v_proj(c3), 2), f4], dim=1))
        q5, q4, q3 = _double(self.f4_proj5(f5)), self.f4_proj4(f4), self.f4_proj3(f3)
        return self.coordconv(self.aggr(torch.cat([q3, q4, q5], dim=1)))


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear")
