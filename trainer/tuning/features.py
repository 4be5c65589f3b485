"""Image features for training and selection, with frozen work done once per view."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from models_store.packs import PromptPack
from models_store.vlsm import FrozenVLSM, ImageFeatures
from trainer.feature_cache import FeatureCache, joined
from trainer.tuning.views import ViewKey, Views

SourceKey = tuple[str, ViewKey]
"""A view's name in a cache that several sources share."""


@runtime_checkable
class Embeds(Protocol):
    """A frozen model that can do apart what it does to an image before prompts enter."""

    def embed_image(self, pixels: Tensor, depth: int) -> Any:
        """Embedded pixels [B, 3, S, S], which ``encode_image`` takes in their place.

        Only for visual prompts of this depth.
        """


class ImageSource:
    """Features of views under a pack.

    Without visual prompts the whole image encoder is frozen work; with them, what comes before the
    prompts is. On a processor views are encoded one at a time, kept or not: a result may not
    depend on which others were missing from the cache.

    Args:
        name: Of this source, apart from others with the same cache.
        vlsm: The frozen model.
        views: Where pixels come from.
        device: Where the model is.
        depth: Of the packs' visual prompts; 0 where they have none.
        pooled: Whether packs need the pooled feature.
        cache: Where frozen work is kept; None for a base that is itself trained: nothing is frozen.
        autocast: Makes the context of the run's precision.
    """

    def __init__(
        self,
        *,
        name: str,
        vlsm: FrozenVLSM,
        views: Views,
        device: torch.device,
        depth: int,
        pooled: bool,
        cache: FeatureCache[SourceKey, Any] | None,
        autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ):
        self._name, self._vlsm, self._views, self._device = name, vlsm, views, device
        self._depth, self._pooled, self._cache, self._autocast = depth, pooled, cache, autocast
        self._embeds = vlsm if depth and not pooled and isinstance(vlsm, Embeds) else None

    def features(self, keys: Sequence[ViewKey], pack: PromptPack) -> ImageFeatures:
        """Features of distinct views, in their order."""
        if self._cache is None or (self._depth and self._embeds is None):
            pixels = torch.cat([self._views.pixels(key) for key in keys]).to(self._device)
            return self._vlsm.encode_image(pixels, pack.visual, pooled=self._pooled)
        kept = joined(self._frozen(keys, self._cache))
        if self._embeds is None:
            return kept
        return self._vlsm.encode_image(kept, pack.visual)

    def _frozen(self, keys: Sequence[ViewKey], cache: FeatureCache[SourceKey, Any]) -> list[Any]:
        found = {key: cache.get((self._name, key)) for key in keys}
        missing = [key for key, kept in found.items() if kept is None]
        together = len(missing) if self._device.type == "cuda" else 1
        for start in range(0, len(missing), max(1, together)):
            chunk = missing[start : start + together]
            made = self._encode(torch.cat([self._views.pixels(key) for key in chunk]).to(self._device))
            for row, key in enumerate(chunk):
                single = made if len(chunk) == 1 else made.map(lambda t, at=row: t[at : at + 1].clone())
                cache.put((self._name, key), single)
                found[key] = cache.rounded(single)
        return [found[key] for key in keys]

    @torch.no_grad()
    def _encode(self, pixels: Tensor) -> Any:
        with self._autocast():
            if self._embeds is not None:
                return self._embeds.embed_image(pixels, self._depth)
            return self._vlsm.encode_image(pixels, pooled=self._pooled)
