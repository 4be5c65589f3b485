"""Images of a measurement, each encoded once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from models_store.packs import PromptPack
from models_store.vlsm import FrozenVLSM, ImageFeatures
from trainer.data.examples import Examples, normalise, unit_scale
from trainer.feature_cache import CacheBudget, FeatureCache, joined

DEFAULT_BUDGET = CacheBudget(disk=0)

FeatureSource = Callable[[Tensor], ImageFeatures]
"""From indices [B] of distinct images to their features."""


def image_source(
    vlsm: FrozenVLSM, pack: PromptPack, examples: Examples, device: torch.device
) -> FeatureSource:
    """Encodes the distinct images of examples under a pack, anew at every call."""

    def encode(at: Tensor) -> ImageFeatures:
        pixels = normalise(unit_scale(examples.images.distinct[at], device), vlsm.spec)
        return vlsm.encode_image(pixels, pack.visual, pooled=pack.needs_pooled)

    return encode


class RememberedImages:
    """Features of examples' images as the frozen model sees them, for packs that leave images alone.

    Each image is encoded once, however many packs and phrases are measured on it. Features from
    another batch than the one at hand may differ by rounding.

    Args:
        vlsm: The frozen model.
        examples: Whose images.
        device: Where the model is.
        budget: How much to remember; images beyond it are encoded anew.
    """

    def __init__(
        self,
        vlsm: FrozenVLSM,
        examples: Examples,
        device: torch.device,
        *,
        budget: CacheBudget = DEFAULT_BUDGET,
    ):
        self._vlsm, self._examples, self._device = vlsm, examples, device
        self._cache: FeatureCache[int, ImageFeatures] = FeatureCache(budget)
        self.encoded = 0

    def __call__(self, at: Tensor) -> ImageFeatures:
        """Features of the distinct images at the indices [B], with the pooled feature."""
        found = {index: self._cache.get(index) for index in at.tolist()}
        missing = [index for index, features in found.items() if features is None]
        if missing:
            images = self._examples.images.distinct[missing]
            pixels = normalise(unit_scale(images, self._device), self._vlsm.spec)
            fresh = self._vlsm.encode_image(pixels, pooled=True)
            self.encoded += len(missing)
            for row, index in enumerate(missing):
                features = fresh.select(torch.tensor([row], device=pixels.device))
                self._cache.put(index, features)
                found[index] = features
        return joined([features for features in found.values() if features is not None])


def usable(remembered: RememberedImages | None, pack: PromptPack) -> RememberedImages | None:
    """The remembered images if the pack leaves images alone, else None."""
    return remembered if pack.visual is None else None
