"""Training batches, each a pure function of (seed, epoch, step)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models_store.vlsm import VLSMSpec
from trainer.augment import Augmentation
from trainer.data.examples import Examples, normalise, unit_scale


@dataclass(frozen=True)
class Batch:
    """Pixels [B, 3, S, S], masks [B, 1, S, S] of 0 and 1, and one phrase each."""

    pixels: Tensor
    masks: Tensor
    phrases: list[str]


class BatchSource:
    """Draws batches; a step gives the same one whatever ran before it.

    Args:
        examples: The images to train on.
        spec: The model's normalisation.
        device: Where batches go.
        batch_size: Images per step.
        min_steps: An epoch that would have fewer steps repeats its images until it has as many.
        seed: Seed of order, choice of phrase and augmentation.
        augmentation: How to vary images, or None.
    """

    def __init__(
        self,
        *,
        examples: Examples,
        spec: VLSMSpec,
        device: torch.device,
        batch_size: int,
        min_steps: int,
        seed: int,
        augmentation: Augmentation | None,
    ):
        self._examples, self._spec, self._device = examples, spec, device
        self._seed, self._augmentation = seed, augmentation
        self._size = min(batch_size, len(examples))
        once = math.ceil(len(examples) / self._size)
        self.steps = max(once, min_steps)
        self._passes = 1 if self.steps == once else math.ceil(self.steps * self._size / len(examples))

    def batch(self, epoch: int, step: int) -> Batch:
        """The batch of a step, both counted from 0."""
        order = np.random.default_rng([self._seed, epoch])
        indices = np.concatenate([order.permutation(len(self._examples)) for _ in range(self._passes)])
        chosen = indices[step * self._size : (step + 1) * self._size]
        draw = np.random.default_rng([self._seed, epoch, step])
        texts = [self._examples.phrases[i] for i in chosen]
        rows = torch.from_numpy(chosen)
        images = unit_scale(self._examples.images[rows], self._device)
        masks = self._examples.masks[rows].to(self._device)[:, None].float()
        if self._augmentation is not None:
            images, masks = self._augmentation(images, masks, seed=(self._seed, epoch, step))
        return Batch(normalise(images, self._spec), masks, [t[draw.integers(len(t))] for t in texts])
