"""Blocks and fixed positions that CRIS's parts share; modules are named as in its checkpoint files."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def conv_layer(inputs: int, outputs: int, kernel: int = 1) -> nn.Sequential:
    """Convolution without bias, batch normalisation, ReLU; the size stays."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def linear_layer(inputs: int, outputs: int) -> nn.Sequential:
    """Linear map without bias, batch normalisation, ReLU."""
    return nn.Sequential(nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs), nn.ReLU())


def up2() -> nn.Upsample:
    """Bilinear enlargement to twice the size."""
    return nn.Upsample(scale_factor=2, mode="bilinear")


class CoordConv(nn.Module):
    """A 3x3 convolution that also reads each position's x and y in -1..1."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv1 = conv_layer(inputs + 2, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = x.shape[-2:]
        across = torch.linspace(-1, 1, columns, device=x.device, dtype=x.dtype)
        down = torch.linspace(-1, 1, rows, device=x.device, dtype=x.dtype)
        y, x_ = torch.meshgrid(down, across, indexing="ij")
        coordinates = torch.stack([x_, y]).expand(len(x), -1, -1, -1)
        return self.conv1(torch.cat([x, coordinates], dim=1))


def sinusoids(length: int, width: int, like: Tensor) -> Tensor:
    """Positions 0..length-1 as [length, width]: sine on even, cosine on odd channels, base 10000."""
    at = torch.arange(length, device=like.device, dtype=torch.float32)[:, None]
    even = torch.arange(0, width, 2, device=like.device, dtype=torch.float32)
    angles = at * torch.exp(-even / width * torch.log(torch.tensor(10000.0)))
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1).to(like.dtype)


def sinusoids_2d(rows: int, columns: int, width: int, like: Tensor) -> Tensor:
    """Positions of a grid as [rows * columns, width]: the first half encodes x, the second y."""
    x = sinusoids(columns, width // 2, like).expand(rows, -1, -1)
    y = sinusoids(rows, width // 2, like)[:, None].expand(-1, columns, -1)
    return torch.cat([x, y], dim=-1).flatten(0, 1)
