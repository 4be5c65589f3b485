"""A finer map of a trunk, on its way into a decoder that works at its stride."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PhraseLateral(nn.Module):
    """One finer map, projected and modulated by the conditional embedding."""

    def __init__(self, inputs: int, outputs: int, cond: int):
        super().__init__()
        self.project = nn.Conv2d(inputs, outputs, 1)
        self.film = nn.Linear(cond, 2 * outputs)

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        scale, shift = self.film(cond)[..., None, None].chunk(2, dim=1)
        return torch.addcmul(shift, self.project(x), 1 + scale)
