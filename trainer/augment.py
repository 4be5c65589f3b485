"""The benchmark's training augmentation: slight affine moves and slight changes of tone.

Every call's randomness comes from the numbers it is given, so that a resumed run draws what an
uninterrupted one would have drawn.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

PROBABILITY = 0.2
SCALE = (0.98, 1.02)
SHIFT = 0.02
DEGREES = 5.0
TONE = 0.1


class Augmentation:
    """Affine moves and brightness/contrast, each with probability 0.2 per image; no flips.

    Scale 0.98 to 1.02, shift up to 2 % of the side, rotation up to 5 degrees, borders
    replicated; contrast times 0.9 to 1.1, brightness plus up to 0.1. Images are resampled
    bicubically, masks by nearest neighbour. An image that neither falls to is left as it is.
    """

    def __call__(self, images: Tensor, masks: Tensor, *, seed: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Augment a batch.

        Args:
            images: [B, 3, S, S] in 0..1.
            masks: [B, K, S, S], 0 or 1.
            seed: Numbers that name this batch, such as seed, image and view.

        Returns:
            Images in 0..1 and masks of 0 and 1, of the same shapes.
        """
        draw = np.random.default_rng(np.random.SeedSequence([number & 0xFFFFFFFF for number in seed]))
        pairs = [
            _vary(image, mask, draw) for image, mask in zip(images.split(1), masks.split(1), strict=True)
        ]
        moved, targets = zip(*pairs, strict=True)
        return torch.cat(moved), torch.cat(targets)


def _vary(image: Tensor, mask: Tensor, draw: np.random.Generator) -> tuple[Tensor, Tensor]:
    moves, tones = draw.random(2) < PROBABILITY
    scale, angle = draw.uniform(*SCALE), math.radians(draw.uniform(-DEGREES, DEGREES))
    shift, tone = draw.uniform(-SHIFT, SHIFT, 2), draw.uniform(-TONE, TONE, 2)
    if moves:
        grid = _grid(image, scale, angle, shift)
        # Bicubic resampling overshoots at edges.
        image = _sample(image, grid, "bicubic").clamp(0, 1)
        mask = _sample(mask, grid, "nearest")
    if tones:
        image = (image * (1 + tone[0]) + tone[1]).clamp(0, 1)
    return image, mask


def _grid(image: Tensor, scale: float, angle: float, shift: np.ndarray) -> Tensor:
    """Where each pixel of a square image comes from, in -1..1."""
    cosine, sine = math.cos(angle) / scale, math.sin(angle) / scale
    # A shift of one side is 2 in these units.
    rows = [[cosine, sine, -2 * shift[0]], [-sine, cosine, -2 * shift[1]]]
    matrix = torch.tensor([rows], dtype=image.dtype, device=image.device)
    return F.affine_grid(matrix, list(image.shape), align_corners=False)


def _sample(image: Tensor, grid: Tensor, mode: str) -> Tensor:
    return F.grid_sample(image, grid, mode=mode, padding_mode="border", align_corners=False)
