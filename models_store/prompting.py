"""Where prompts go in a text tower; shared by all families.

The rules are the benchmark's (CoOp: Zhou et al., 2022; deep prompts: Khattak et al., MaPLe, 2023).
"""

from __future__ import annotations

import torch
from torch import Tensor

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
