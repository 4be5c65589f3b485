"""CRIS's projector: the phrase writes the convolution that draws the mask."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from models_store.convolutions.lateral import PhraseLateral
from models_store.cris.layers import conv_layer, up2

KERNEL = 3


class Projector(nn.Module):
    """Enlarge the map four times, then convolve each row with its phrase's own kernel.

    Args:
        word_dim: Width of the phrase's state.
        channels: Half the channels of the map that comes in.
        fine_channels: Channels of the trunk's finer maps, fine to coarse (strides 2, 4, 8), each
            modulated by the phrase and added on the way up; the mask is then drawn at stride 2
            instead of 4, from half as many channels. Empty for the published model.
    """

    def __init__(self, *, word_dim: int, channels: int, fine_channels: tuple[int, ...] = ()):
        super().__init__()
        drawn = channels // 2 if fine_channels else channels
        self.vis = nn.Sequential(
            up2(),
            conv_layer(2 * channels, 2 * channels, KERNEL),
            up2(),
            conv_layer(2 * channels, channels, KERNEL),
            nn.Conv2d(channels, drawn, 1),
        )
        self.txt = nn.Linear(word_dim, drawn * KERNEL * KERNEL + 1)
        widths = (drawn, channels, 2 * channels) if fine_channels else ()
        self.laterals = nn.ModuleList(
            PhraseLateral(c, w, word_dim) for c, w in zip(fine_channels, widths, strict=True)
        )
        self.last = nn.Sequential(up2(), conv_layer(drawn, drawn, KERNEL)) if fine_channels else None

    def forward(self, grid: Tensor, state: Tensor, fine: tuple[Tensor, ...]) -> Tensor:
        """Draw.

        Args:
            grid: [B, 2 * channels, h, w].
            state: [B, word_dim].
            fine: The trunk's finer maps, as many as there are laterals.

        Returns:
            Logits [B, 1, 4h, 4w], or [B, 1, 8h, 8w] with finer maps.
        """
        if self.last is None:
            return self._draw(self.vis(grid), state)
        half, quarter, eighth = (lateral(x, state) for lateral, x in zip(self.laterals, fine, strict=True))
        first_up, first, second_up, second, mix = self.vis
        last_up, last = self.last
        x = first(first_up(grid) + eighth)
        x = mix(second(second_up(x)) + quarter)
        return self._draw(last(last_up(x) + half), state)

    def _draw(self, x: Tensor, state: Tensor) -> Tensor:
        """Each row convolved with the kernel and bias its phrase writes, zeros around.

        One product mixes the channels for all taps and the shifted taps are added up, which is
        several times faster than a convolution with a group per row.
        """
        written = self.txt(state)
        taps = written[:, :-1].unflatten(1, (-1, KERNEL * KERNEL)).flip(2)  # [B, C, taps]
        mixed = taps.transpose(1, 2) @ x.flatten(2)
        drawn = F.fold(mixed, x.shape[-2:], KERNEL, padding=KERNEL // 2)
        return drawn + written[:, -1, None, None, None]
