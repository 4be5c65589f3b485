"""Rows of any checkpoints, from pixels and phrases to logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from models_store.mixed.decoding import decode_rows
from models_store.mixed.images import encode_images
from models_store.mixed.texts import encode_texts
from models_store.packs import PromptPack
from models_store.vlsm import FrozenVLSM


@dataclass(frozen=True)
class Row:
    """One image under one phrase and one pack.

    Attributes:
        pack: The pack; :data:`models_store.packs.ZERO_SHOT` for none.
        pixels: [3, S, S], normalised, where the model is.
        phrase: The phrase.
    """

    pack: PromptPack
    pixels: Tensor
    phrase: str


def segment_rows(vlsm: FrozenVLSM, rows: Sequence[Row], *, most: int = 64) -> Tensor:
    """Logits [R, 1, S, S] of rows that have nothing in common but the frozen model.

    An image that several rows show under the same visual prompts is encoded once.

    Args:
        vlsm: The frozen model.
        rows: One or more.
        most: Rows per forward pass.
    """
    keys = [(id(row.pixels), id(row.pack.visual), row.pack.needs_pooled) for row in rows]
    firsts: dict[tuple[int, int, bool], Row] = {}
    for key, row in zip(keys, rows, strict=True):
        firsts.setdefault(key, row)
    encoded = encode_images(
        vlsm, [row.pixels for row in firsts.values()], [row.pack for row in firsts.values()], most=most
    )
    by_key = dict(zip(firsts, encoded, strict=True))
    packs, images = [row.pack for row in rows], [by_key[key] for key in keys]
    texts = encode_texts(vlsm, [row.phrase for row in rows], packs, images)
    return decode_rows(vlsm, packs, images, texts, most=most)
