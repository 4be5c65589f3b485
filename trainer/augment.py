"""The benchmark's training augmentation: slight affine moves and slight changes of tone.

Every batch's randomness comes from one number, so that a resumed run draws what an
uninterrupted one would have drawn.
"""

from __future__ import annotations

import numpy as np
import torch
from kornia.augmentation import AugmentationSequential, ColorJiggle, RandomAffine
from torch import Tensor

PROBABILITY = 0.2
SCALE = (0.98, 1.02)
SHIFT = 0.02
DEGREES = 5.0
TONE = 0.1


class Augmentation:
    """Affine moves and brightness/contrast, each with probability 0.2 per image; no flips.

    Scale 0.98 to 1.02, shift up to 2 % of the side, rotation up to 5 degrees, borders
    replicated; brightness and contrast up to 0.1. Images are resampled bicubically, masks by
    nearest neighbour.
    """

    def __init__(self) -> None:
        self._pipeline = AugmentationSequential(
            RandomAffine(
                degrees=DEGREES,
                translate=(SHIFT, SHIFT),
                scale=SCALE,
                p=PROBABILITY,
                resample="bicubic",
                padding_mode="border",
            ),
            ColorJiggle(brightness=TONE, contrast=TONE, p=PROBABILITY),
            data_keys=["input", "mask"],
        )

    def __call__(self, images: Tensor, masks: Tensor, *, seed: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Augment a batch.

        Args:
            images: [B, 3, S, S] in 0..1.
            masks: [B, 1, S, S], 0 or 1.
            seed: Numbers that name this batch, such as seed, epoch and step.

        Returns:
            Images in 0..1 and masks of 0 and 1, of the same shapes.
        """
        devices = [images.device] if images.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
            moved, targets = self._pipeline(images, masks)
        # Bicubic resampling overshoots at edges.
        return moved.clamp(0, 1), targets
