"""From examples and phrases to text features, with each distinct phrase encoded once where it can be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from models_store.packs import PromptPack, encode_phrases
from models_store.vlsm import FrozenVLSM, ImageFeatures, TextFeatures

TEXT_BATCH = 64


class PhraseBook:
    """Distinct phrases, tokenised once.

    Args:
        vlsm: The frozen model.
        phrases: The phrases; repeats are welcome.
        prompt_tokens: Text positions that prompts will take.
    """

    def __init__(self, vlsm: FrozenVLSM, phrases: Iterable[str], *, prompt_tokens: int):
        self._vlsm = vlsm
        distinct = sorted(set(phrases))
        self._row = {phrase: i for i, phrase in enumerate(distinct)}
        self._tokens = vlsm.tokenize(distinct, prompt_tokens)

    def rows(self, phrases: Sequence[str]) -> Tensor:
        """Index [B] of each phrase."""
        return torch.tensor([self._row[phrase] for phrase in phrases], device=self._tokens.ids.device)

    def encode(self, pack: PromptPack, rows: Tensor, image: ImageFeatures | None = None) -> TextFeatures:
        """Features of the phrases at ``rows`` [B], which may repeat; gradients reach the pack.

        Args:
            pack: The pack.
            rows: Index of each phrase.
            image: Where ``pack.needs_pooled``, the features of each phrase's own image [B]; each
                pair is then encoded by itself.
        """
        if pack.needs_pooled:
            return encode_phrases(self._vlsm, pack, self._tokens.select(rows), image)
        distinct, inverse = rows.unique(return_inverse=True)
        return encode_phrases(self._vlsm, pack, self._tokens.select(distinct)).select(inverse)

    def encode_all(self, pack: PromptPack) -> TextFeatures:
        """Features of all phrases, in the order of :meth:`rows`; not where they follow the image."""
        rows = torch.arange(len(self._row), device=self._tokens.ids.device)
        parts = [self.encode(pack, part) for part in rows.split(TEXT_BATCH)]
        return parts[0] if len(parts) == 1 else _joined(parts)


def _joined(parts: Sequence[TextFeatures]) -> TextFeatures:
    """The rows of several bundles as one; all come from one book, so they are of one length."""
    columns: list[list[Tensor]] = []
    for part in parts:
        tensors: list[Tensor] = []

        def note(tensor: Tensor, into: list[Tensor] = tensors) -> Tensor:
            into.append(tensor)
            return tensor

        part.map(note)
        columns.append(tensors)
    joined = iter([torch.cat(column) for column in zip(*columns, strict=True)])
    return parts[0].map(lambda _: next(joined))
