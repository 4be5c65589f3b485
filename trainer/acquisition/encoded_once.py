"""A frozen model that encodes no image twice."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import torch
from torch import Tensor

from models_store.vlsm import Decoded, FrozenVLSM, ImageFeatures, TextFeatures, Tokens
from trainer.encoded import DEFAULT_BUDGET
from trainer.feature_cache import CacheBudget, FeatureCache, joined


class EncodedOnce:
    """The model, with what it made of images kept under the SHA-256 of their pixels.

    Only images without visual prompts are kept: those prompts differ from checkpoint to checkpoint.
    Each image is encoded by itself, so that its features do not depend on which others were asked for
    with it. Pooled features, of a kilobyte each, are kept beyond the budget.

    Args:
        vlsm: The frozen model.
        budget: How much to keep; images beyond it are encoded anew.
    """

    def __init__(self, vlsm: FrozenVLSM, *, budget: CacheBudget = DEFAULT_BUDGET):
        self._vlsm, self.spec = vlsm, vlsm.spec
        self._features: FeatureCache[str, ImageFeatures] = FeatureCache(budget)
        self._pooled: dict[str, Tensor] = {}
        self.encoded = 0

    def tokenize(self, phrases: list[str], prompt_tokens: int = 0) -> Tokens:
        return self._vlsm.tokenize(phrases, prompt_tokens)

    def embed_phrase(self, phrase: str) -> Tensor:
        return self._vlsm.embed_phrase(phrase)

    def encode_text(self, tokens: Tokens, text_prompts: Tensor | None = None) -> TextFeatures:
        return self._vlsm.encode_text(tokens, text_prompts)

    def decode(self, image: ImageFeatures, text: TextFeatures) -> Decoded:
        return self._vlsm.decode(image, text)

    def encode_image(
        self, pixels: Tensor, visual_prompts: Tensor | None = None, *, pooled: bool = False
    ) -> ImageFeatures:
        """As the model does it; the features of each image [3, S, S] are kept."""
        if visual_prompts is not None:
            return self._vlsm.encode_image(pixels, visual_prompts, pooled=pooled)
        features = joined([self._single(image) for image in pixels.split(1)])
        return features if pooled else replace(features, pooled=None)

    def pooled(self, pixels: Tensor) -> Tensor:
        """Pooled features [B, pooled_width] of pixels [B, 3, S, S]."""
        found = []
        for image in pixels.split(1):
            kept = self._pooled.get(_digest(image))
            found.append(pooled_of(self._single(image)) if kept is None else kept)
        return torch.cat(found)

    def _single(self, image: Tensor) -> ImageFeatures:
        key = _digest(image)
        features = self._features.get(key)
        if features is None:
            # What is made in inference mode could not be trained on later.
            with torch.inference_mode(False), torch.no_grad():
                features = self._vlsm.encode_image(image, pooled=True)
            self.encoded += 1
            self._features.put(key, features)
            self._pooled[key] = pooled_of(features)
        return features


def pooled_of(features: ImageFeatures) -> Tensor:
    """The pooled feature [B, pooled_width] that was asked for.

    Raises:
        ValueError: It was not asked for.
    """
    if features.pooled is None:
        raise ValueError("these features were made without the pooled one")
    return features.pooled


def _digest(image: Tensor) -> str:
    return hashlib.sha256(image.detach().cpu().contiguous().numpy().tobytes()).hexdigest()
