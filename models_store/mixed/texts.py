"""Phrases under different text prompts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from models_store.mixed.prompts import MixedPrompts, stack_prompts, takes_mixed
from models_store.packs import PromptPack
from models_store.vlsm import FrozenVLSM, ImageFeatures, TextFeatures, Tokens


def encode_texts(
    vlsm: FrozenVLSM,
    phrases: Sequence[str],
    packs: Sequence[PromptPack],
    images: Sequence[ImageFeatures | None],
) -> list[TextFeatures]:
    """Features of phrases, each under its own pack.

    All share one forward pass where the model takes mixed prompts: a row ends at its own EOS, and the
    causal mask hides whatever follows.

    Args:
        vlsm: The frozen model.
        phrases: One or more.
        packs: As many.
        images: As many, of one image each; only read, for the pooled feature, where the pack
            follows the image.

    Returns:
        Features of one phrase each, in order; they may share memory.
    """
    prompts = _row_prompts(packs, images)
    # One call per number of prompts, which is how much room a phrase has; ragged ends are padded.
    by_number = _groups([pack.text_tokens for pack in packs])
    tokens: dict[int, Tokens] = {}
    for rows in by_number:
        together = vlsm.tokenize([phrases[row] for row in rows], packs[rows[0]].text_tokens)
        for place, row in enumerate(rows):
            tokens[row] = Tokens(together.ids[place : place + 1], together.mask[place : place + 1])
    mixing = takes_mixed(vlsm)
    groups = _groups([None if mixing or p is None else p.shape[:2] for p in prompts])
    found: dict[int, TextFeatures] = {}
    for rows in groups:
        features = _encode(vlsm, _join([tokens[row] for row in rows]), [prompts[row] for row in rows])
        found |= zip(rows, split_texts(features), strict=True)
    return [found[row] for row in range(len(packs))]


def _groups(kinds: Sequence[object]) -> list[list[int]]:
    """Indices of equal kinds together."""
    groups: dict[object, list[int]] = defaultdict(list)
    for row, kind in enumerate(kinds):
        groups[kind].append(row)
    return list(groups.values())


def _row_prompts(packs: Sequence[PromptPack], images: Sequence[ImageFeatures | None]) -> list[Tensor | None]:
    """Each row's [D, n, d_t], with what its image adds; the meta-nets of a pack run once."""
    prompts = [pack.text for pack in packs]
    for rows in _groups([id(pack.shift) if pack.shift is not None else None for pack in packs]):
        pack = packs[rows[0]]
        if pack.shift is None or pack.text is None:
            continue
        pooled = [image.pooled for row in rows if (image := images[row]) is not None]
        known = [feature for feature in pooled if feature is not None]
        if len(known) != len(rows):
            raise ValueError(
                f"these prompts follow the image: {len(rows)} phrases, {len(known)} pooled features"
            )
        shifted = pack.text + pack.shift(torch.cat(known))[:, :, None]  # [B, D, n, d_t]
        for place, row in enumerate(rows):
            prompts[row] = shifted[place]
    return prompts


def _join(tokens: Sequence[Tokens]) -> Tokens:
    """One batch of rows, padded; id 0 is no EOS in any vocabulary, so the first EOS stays the first."""
    length = max(row.ids.shape[1] for row in tokens)
    if len(tokens) == 1:
        return tokens[0]
    ids, masks = ([F.pad(x, (0, length - x.shape[1])) for x in xs] for xs in _columns(tokens))
    return Tokens(torch.cat(ids), torch.cat(masks))


def _columns(tokens: Sequence[Tokens]) -> tuple[list[Tensor], list[Tensor]]:
    return [row.ids for row in tokens], [row.mask for row in tokens]


def _encode(vlsm: FrozenVLSM, tokens: Tokens, prompts: Sequence[Tensor | None]) -> TextFeatures:
    stacked = stack_prompts(prompts)
    if not isinstance(stacked, MixedPrompts):
        return vlsm.encode_text(tokens, stacked)
    if not takes_mixed(vlsm):
        raise ValueError(f"{vlsm.spec.name} takes no prompts of different shapes in one batch")
    return vlsm.encode_text(tokens, stacked)


def split_texts(features: TextFeatures) -> list[TextFeatures]:
    """The features of each phrase, viewed without copying."""
    if len(features) == 1:
        return [features]
    return [features.map(lambda x, row=row: x[row : row + 1]) for row in range(len(features))]  # type: ignore[misc]


def stack_texts(features: Sequence[TextFeatures]) -> TextFeatures:
    """One batch of features of one phrase each; words are padded to one length."""
    if len(features) == 1:
        return features[0]
    cond = torch.cat([row.cond for row in features])
    words = [row.words for row in features if row.words is not None]
    padding = [row.padding for row in features if row.padding is not None]
    if not words:
        return TextFeatures(cond)
    length = max(row.shape[1] for row in words)
    return TextFeatures(
        cond,
        torch.cat([F.pad(row, (0, 0, 0, length - row.shape[1])) for row in words]),
        torch.cat([F.pad(row, (0, length - row.shape[1]), value=True) for row in padding]),
    )
