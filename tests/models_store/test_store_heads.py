"""The additive head's cheap way equals its definition."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from models_store.heads import HeadMode, make_head
from models_store.vlsm import Decoded


@pytest.mark.parametrize("size", [(3, 5), (20, 20)])
@pytest.mark.parametrize("reduced", [None, 6])
def test_it_equals_upsampling_then_convolving(size: tuple[int, int], reduced: int | None) -> None:
    generator = torch.Generator().manual_seed(0)
    head = make_head(16, HeadMode.ADD, generator, reduced)
    assert head is not None
    grid = torch.randn(2, 16, *size, generator=generator, requires_grad=True)
    own = torch.zeros(2, 1, size[0] * 16, size[1] * 16)
    narrow = grid if head.reduce is None else head.reduce(grid)
    expected = head.conv(F.interpolate(narrow, size=own.shape[-2:], mode="bilinear"))
    found = head(Decoded(grid, own))
    assert torch.allclose(found, expected, atol=1e-5)
    # A weighted sum, so that no gradient cancels by symmetry.
    weights = torch.randn(expected.shape, generator=generator)
    ours = torch.autograd.grad((found * weights).sum(), (grid, head.conv.weight))
    theirs = torch.autograd.grad((expected * weights).sum(), (grid, head.conv.weight))
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-3)
