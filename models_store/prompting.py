"""Where prompts go in a text tower; shared by all families.

The rules are the benchmark's (CoOp: Zhou et al., 2022; deep prompts: Khattak et al., MaPLe, 2023).
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from models_store.mixed.prompts import MixedPrompts
from models_store.vlsm import Tokens


def per_depth(prompts: Tensor | None, rows: int) -> list[Tensor]:
    """Split prompts [D, n, d] or [B, D, n, d] into D tensors [B, n, d]."""
    if prompts is None:
        return []
    if prompts.ndim == 3:
        prompts = prompts.expand(rows, *prompts.shape)
    if prompts.ndim != 4 or prompts.shape[0] != rows:
        raise ValueError(
            f"prompts of shape {tuple(prompts.shape)} do not fit {rows} rows; "
            "expected [depth, n, width] or [rows, depth, n, width]"
        )
    return list(prompts.unbind(1))


def fit_positions(tokens: Tokens, prompts: int, positions: int) -> Tokens:
    """Cut token columns so that they and the prompts fit, closing each row as it was closed.

    A row's own last token is its EOS, so it stays; what goes are the words before it. (The
    benchmark keeps the batch's last column, which is the same where padding and EOS are.)
    """
    room = positions - prompts
    if tokens.ids.shape[1] <= room:
        return tokens
    closing = tokens.ids.gather(1, tokens.mask.long().sum(dim=1, keepdim=True) - 1)
    ids = torch.cat([tokens.ids[:, : room - 1], closing], dim=1)
    return Tokens(ids, tokens.mask[:, :room])


def first_eos(ids: Tensor, eos: int) -> Tensor:
    """Index [B] of each row's first EOS; configurations that say ``eos = 2`` mean the largest id."""
    if eos == 2:
        return ids.argmax(dim=-1)
    return (ids == eos).int().argmax(dim=-1)


def replace_after_bos(hidden: Tensor, prompts: Tensor) -> Tensor:
    """Hidden states [B, L, d] with positions 1..n replaced by prompts [B, n, d], raw."""
    return torch.cat([hidden[:, :1], prompts.to(hidden.dtype), hidden[:, 1 + prompts.shape[1] :]], dim=1)


def insert_after_bos(words: Tensor, mask: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings [B, L, d] and mask [B, L] with prompts [B, n, d] between BOS and the words."""
    longer = torch.cat([words[:, :1], prompts.to(words.dtype), words[:, 1:]], dim=1)
    return longer, torch.cat([mask.new_ones(len(mask), prompts.shape[1]), mask], dim=1)[:, : longer.shape[1]]


class TextPrompts(Protocol):
    """A batch's prompts on their way through a text tower."""

    def fit(self, tokens: Tokens, positions: int) -> Tokens:
        """The tokens, cut where they and the prompts would not fit."""

    def insert(self, words: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings [B, L, d] and mask [B, L] of fitted tokens, with P_0 after BOS."""

    def write(self, hidden: Tensor, level: int) -> Tensor:
        """Hidden states with P_level, for level > 0, written over the prompts' positions."""

    def moved(self, at: Tensor) -> Tensor:
        """Where the words at the indices [B] are behind the prompts."""


def text_prompts(prompts: Tensor | MixedPrompts | None, rows: int, positions: int) -> TextPrompts:
    """How these prompts enter a tower of so many positions."""
    if isinstance(prompts, MixedPrompts):
        if len(prompts.values) != rows:
            raise ValueError(f"prompts of {len(prompts.values)} rows do not fit {rows} rows")
        return RowsPrompts(prompts, positions)
    return AlikePrompts(per_depth(prompts, rows))


class AlikePrompts:
    """Prompts of one depth and number, as tensors [B, n, d] per level; none at all, too."""

    def __init__(self, levels: list[Tensor]):
        self.levels = levels
        self.number = levels[0].shape[1] if levels else 0

    def fit(self, tokens: Tokens, positions: int) -> Tokens:
        return fit_positions(tokens, self.number, positions)

    def insert(self, words: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        return insert_after_bos(words, mask, self.levels[0]) if self.levels else (words, mask)

    def write(self, hidden: Tensor, level: int) -> Tensor:
        return replace_after_bos(hidden, self.levels[level]) if 0 < level < len(self.levels) else hidden

    def moved(self, at: Tensor) -> Tensor:
        return at + self.number


class RowsPrompts:
    """Prompts whose depth and number are each row's own.

    Rows end where they end: what follows is padding, which nothing before it sees.
    """

    def __init__(self, prompts: MixedPrompts, positions: int):
        self.prompts = prompts
        self.positions = positions
        self.most = max(prompts.numbers)
        self.numbers = torch.tensor(prompts.numbers, device=prompts.values.device)[:, None]  # [B, 1]
        self.own = torch.arange(self.most, device=self.numbers.device) < self.numbers  # [B, N]

    def fit(self, tokens: Tokens, positions: int) -> Tokens:
        columns = torch.arange(tokens.ids.shape[1], device=tokens.ids.device)
        lengths = tokens.mask.long().sum(dim=1, keepdim=True)
        room = positions - self.numbers  # [B, 1]
        closing = tokens.ids.gather(1, lengths - 1)
        ids = torch.where((columns == room - 1) & (lengths > room), closing, tokens.ids)
        return Tokens(ids, tokens.mask * (columns < room))

    def insert(self, words: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        length = min(words.shape[1] + self.most, self.positions)
        source = torch.arange(length, device=words.device) - self.numbers  # [B, L + N]
        at = source.clamp(0, words.shape[1] - 1)
        # BOS and the words where they belong; the prompts' places hold BOS until they are written.
        longer = words.gather(1, at[..., None].expand(-1, -1, words.shape[2]))
        mask = mask.gather(1, at) * (source < words.shape[1])
        return self._written(longer, self.prompts.values[:, 0], self.own[..., None]), mask

    def write(self, hidden: Tensor, level: int) -> Tensor:
        if not 0 < level < self.prompts.values.shape[1]:
            return hidden
        deep = self.prompts.deeper_than(level)
        own = self.own[..., None]
        return self._written(hidden, self.prompts.values[:, level], own if deep is None else own & deep)

    def moved(self, at: Tensor) -> Tensor:
        return at + self.numbers[:, 0]

    def _written(self, hidden: Tensor, level: Tensor, where: Tensor) -> Tensor:
        behind = 1 + self.most
        new = torch.where(where, level.to(hidden.dtype), hidden[:, 1:behind])
        return torch.cat([hidden[:, :1], new, hidden[:, behind:]], dim=1)
