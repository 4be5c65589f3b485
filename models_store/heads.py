"""The additive head: a second, learned way from the decoder grid to logits."""

from __future__ import annotations

from enum import StrEnum

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models_store.errors import DamagedError
from models_store.vlsm import Decoded, VLSMSpec

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

    Source: TuneVLSeg's "new last layer" (CLIPSeg: 1,601 parameters; CRIS, which reduces the grid
    to 64 channels first: 34,369; and the ratio where mixed).

    Args:
        channels: Channels of the decoder grid.
        mode: ``ADD`` or ``MIX``.
        reduced: Channels the grid is first reduced to; None convolves it as it is.
    """

    def __init__(self, channels: int, mode: HeadMode, reduced: int | None = None):
        super().__init__()
        if mode is HeadMode.NONE:
            raise ValueError("a head of mode 'none' is no head; use None")
        self.mode = mode
        self.reduce = None if reduced is None else nn.Conv2d(channels, reduced, 1, bias=False)
        self.conv = nn.Conv2d(reduced or channels, 1, KERNEL, padding="same", padding_mode="replicate")
        self.ratio = nn.Parameter(torch.tensor(0.5)) if mode is HeadMode.MIX else None

    @property
    def channels(self) -> int:
        """Channels of the grid it reads."""
        return (self.reduce or self.conv).in_channels

    @property
    def reduced(self) -> int | None:
        """Channels it reduces the grid to first, if it does."""
        return None if self.reduce is None else self.reduce.out_channels

    def forward(self, decoded: Decoded) -> Tensor:
        """Logits [B, 1, H, W] from the grid and the model's own logits."""
        grid = decoded.grid if self.reduce is None else self.reduce(decoded.grid)
        bias = self.conv.bias
        assert bias is not None
        own, new = decoded.logits, convolve_upsampled(grid, self.conv.weight, bias, decoded.logits.shape[-2:])
        if self.ratio is None:
            return own + new
        return (1 - self.ratio) * own + self.ratio * new


def convolve_upsampled(grid: Tensor, weight: Tensor, bias: Tensor, size: torch.Size) -> Tensor:
    """``conv(upsample(grid))`` as small matrix products, many times cheaper.

    Bilinear upsampling is ``A_y grid A_x^T``, and shifting by a tap with a replicated border picks
    rows of A. So each tap's channels are mixed on the small grid, and nothing but the result
    ever exists at full size.

    Args:
        grid: [B, C, gh, gw].
        weight: The kernel [1, C, KERNEL, KERNEL], or each row's own [B, C, KERNEL, KERNEL].
        bias: [1], or each row's own [B].
        size: Height and width of the result.

    Returns:
        [B, 1, H, W].
    """
    if len(weight) == 1:
        taps = torch.einsum("bchw,cyx->byhxw", grid, weight[0])
    else:
        taps = torch.einsum("bchw,bcyx->byhxw", grid, weight)
    down, across = (_shifted_upsampling(grid, *lengths) for lengths in zip(grid.shape[2:], size, strict=True))
    rows = taps.flatten(3) @ across  # [B, KERNEL, gh, W]
    return (down.T @ rows.flatten(1, 2))[:, None] + bias[:, None, None, None]


def _shifted_upsampling(like: Tensor, coarse: int, fine: int) -> Tensor:
    """Linear upsampling shifted by each of the kernel's taps: [KERNEL * coarse, fine]."""
    identity = torch.eye(coarse, dtype=like.dtype, device=like.device)[None]
    upsampling = F.interpolate(identity, size=fine, mode="linear")[0]
    at = torch.arange(fine, device=like.device)
    shifts = range(-(KERNEL // 2), KERNEL // 2 + 1)
    return torch.cat([upsampling[:, (at + shift).clamp(0, fine - 1)] for shift in shifts])


def make_head(
    channels: int, mode: HeadMode, generator: torch.Generator, reduced: int | None = None
) -> AdditiveHead | None:
    """A fresh head, or None for mode ``none``; torch's own initialisation, drawn from ``generator``."""
    if mode is HeadMode.NONE:
        return None
    head = AdditiveHead(channels, mode, reduced)
    with torch.no_grad():
        for layer in (head.reduce, head.conv):
            if layer is None:
                continue
            bound = layer.weight[0].numel() ** -0.5
            for parameter in layer.parameters():
                parameter.uniform_(-bound, bound, generator=generator)
    return head


def head_for(spec: VLSMSpec, mode: HeadMode, generator: torch.Generator) -> AdditiveHead | None:
    """A fresh head of the sizes that a model's grid asks for."""
    return make_head(spec.grid_channels, mode, generator, spec.head_channels)


def head_from_tensors(tensors: dict[str, Tensor], mode: HeadMode) -> AdditiveHead:
    """A frozen head from its ``state_dict``.

    Raises:
        DamagedError: The tensors are not those of such a head.
    """
    weights = {name: tensors.get(f"{name}.weight") for name in ("conv", "reduce")}
    wrong = [name for name, weight in weights.items() if weight is not None and weight.ndim != 4]
    conv, reduce = weights["conv"], weights["reduce"]
    if conv is None or wrong:
        raise DamagedError(f"the checkpoint says head {mode.value!r} but holds no head")
    # No first values are drawn for what is replaced, and no memory is taken twice.
    with torch.device("meta"):
        if reduce is None:
            head = AdditiveHead(conv.shape[1], mode)
        else:
            head = AdditiveHead(reduce.shape[1], mode, reduce.shape[0])
    try:
        head.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, assign=True)
    except RuntimeError as error:
        raise DamagedError(f"the head's tensors do not fit: {error}") from error
    return head.eval().requires_grad_(False)
