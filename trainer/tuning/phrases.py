"""Phrases during training: each distinct one encoded once per step, or once for good where it is frozen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from models_store.packs import PromptPack, encode_phrases
from models_store.vlsm import FrozenVLSM, ImageFeatures, TextFeatures, Tokens
from trainer.tuning.feature_cache import joined


class TrainingPhrases:
    """Distinct phrases, tokenised once.

    Args:
        vlsm: The frozen model.
        phrases: The phrases; repeats are welcome.
        pack: What the learner's packs are like.
        frozen: Whether the base is frozen; without text prompts its features then never change.
    """

    def __init__(self, vlsm: FrozenVLSM, phrases: Iterable[str], pack: PromptPack, *, frozen: bool = True):
        self._vlsm = vlsm
        distinct = sorted(set(phrases))
        self._row = {phrase: i for i, phrase in enumerate(distinct)}
        self._tokens = vlsm.tokenize(distinct, pack.text_tokens)
        self._constant = frozen and pack.text is None
        self._kept: dict[int, TextFeatures] = {}

    def _chosen(self, rows: Tensor) -> Tokens:
        return Tokens(self._tokens.ids[rows], self._tokens.mask[rows])

    def features(self, pack: PromptPack, phrases: Sequence[str], image: ImageFeatures) -> TextFeatures:
        """Features of one phrase per row of ``image``; gradients reach the pack."""
        rows = torch.tensor([self._row[phrase] for phrase in phrases], device=self._tokens.ids.device)
        if pack.needs_pooled:
            return encode_phrases(self._vlsm, pack, self._chosen(rows), image)
        distinct, inverse = rows.unique(return_inverse=True)
        if self._constant:
            return joined([self._once(row) for row in distinct.tolist()]).select(inverse)
        return encode_phrases(self._vlsm, pack, self._chosen(distinct)).select(inverse)

    @torch.no_grad()
    def _once(self, row: int) -> TextFeatures:
        if row not in self._kept:
            tokens = self._chosen(torch.tensor([row], device=self._tokens.ids.device))
            self._kept[row] = self._vlsm.encode_text(tokens)
        return self._kept[row]
