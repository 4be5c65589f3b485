"""Phrases for training and for measuring: each distinct one encoded once, and for good where it can be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from models_store.packs import PromptPack, encode_phrases
from models_store.vlsm import FrozenVLSM, ImageFeatures, TextFeatures
from trainer.feature_cache import joined


class Phrases:
    """Distinct phrases, tokenised once.

    Args:
        vlsm: The model.
        phrases: The phrases; repeats are welcome.
        pack: The pack they will be encoded under, or one like it.
        constant: Whether every pack to come treats a phrase alike; features are then kept.
    """

    def __init__(self, vlsm: FrozenVLSM, phrases: Iterable[str], pack: PromptPack, *, constant: bool):
        self._vlsm = vlsm
        distinct = sorted(set(phrases))
        self._row = {phrase: i for i, phrase in enumerate(distinct)}
        self._tokens = vlsm.tokenize(distinct, pack.text_tokens)
        self._constant = constant
        self._kept: dict[int, TextFeatures] = {}

    @classmethod
    def under(cls, vlsm: FrozenVLSM, pack: PromptPack, phrases: Iterable[str]) -> Phrases:
        """Phrases under one pack that does not change."""
        return cls(vlsm, phrases, pack, constant=True)

    @classmethod
    def for_training(
        cls, vlsm: FrozenVLSM, pack: PromptPack, phrases: Iterable[str], *, frozen: bool = True
    ) -> Phrases:
        """Phrases under a learner's packs; without text prompts a frozen base's features never change."""
        return cls(vlsm, phrases, pack, constant=frozen and pack.text is None)

    def features(self, pack: PromptPack, phrases: Sequence[str], image: ImageFeatures) -> TextFeatures:
        """Features of one phrase per row of ``image``; gradients reach the pack."""
        rows = torch.tensor([self._row[phrase] for phrase in phrases], device=self._tokens.ids.device)
        if pack.needs_pooled:
            return encode_phrases(self._vlsm, pack, self._tokens.select(rows), image)
        distinct, inverse = rows.unique(return_inverse=True)
        if self._constant:
            return joined([self._once(pack, row) for row in distinct.tolist()]).select(inverse)
        return encode_phrases(self._vlsm, pack, self._tokens.select(distinct)).select(inverse)

    @torch.no_grad()
    def _once(self, pack: PromptPack, row: int) -> TextFeatures:
        if row not in self._kept:
            at: Tensor = torch.tensor([row], device=self._tokens.ids.device)
            self._kept[row] = encode_phrases(self._vlsm, pack, self._tokens.select(at))
        return self._kept[row]
