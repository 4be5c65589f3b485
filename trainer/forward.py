"""From examples and phrases to logits, with each distinct phrase encoded once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from models_store.packs import PromptPack
from models_store.vlsm import FrozenVLSM, TextFeatures, Tokens

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

    def encode(self, pack: PromptPack, rows: Tensor) -> TextFeatures:
        """Features of the phrases at ``rows`` [B], which may repeat; gradients reach the pack."""
        distinct, inverse = rows.unique(return_inverse=True)
        tokens = Tokens(self._tokens.ids[distinct], self._tokens.mask[distinct])
        return TextFeatures(self._vlsm.encode_text(tokens, pack.text).cond[inverse])

    def encode_all(self, pack: PromptPack) -> Tensor:
        """Embeddings of all phrases [P, projection_dim], in the order of :meth:`rows`."""
        rows = torch.arange(len(self._row), device=self._tokens.ids.device)
        return torch.cat([self.encode(pack, part).cond for part in rows.split(TEXT_BATCH)])


def pack_logits(vlsm: FrozenVLSM, pack: PromptPack, pixels: Tensor, text: TextFeatures) -> Tensor:
    """Logits [B, 1, S, S] of pixels [B, 3, S, S] under encoded phrases.

    Equals :func:`models_store.packs.segment_logits` but for the text, which is given encoded.
    """
    decoded = vlsm.decode(vlsm.encode_image(pixels, pack.visual), text)
    return decoded.logits if pack.head is None else pack.head(decoded)
