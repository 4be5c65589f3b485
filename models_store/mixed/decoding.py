"""From features to logits, each row with its own head."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

from models_store.heads import AdditiveHead, convolve_upsampled
from models_store.mixed.images import stack_images
from models_store.mixed.texts import stack_texts
from models_store.packs import PromptPack
from models_store.vlsm import Decoded, FrozenVLSM, ImageFeatures, TextFeatures


def decode_rows(
    vlsm: FrozenVLSM,
    packs: Sequence[PromptPack],
    images: Sequence[ImageFeatures],
    texts: Sequence[TextFeatures],
    *,
    most: int = 64,
) -> Tensor:
    """Logits [R, 1, S, S] of R rows, float32.

    Rows share a pass if their images carry as many prompt tokens, which the decoder attends to.

    Args:
        vlsm: The frozen model.
        packs: Of R rows.
        images: Features of one image each.
        texts: Features of one phrase each.
        most: Rows per pass.
    """
    groups: dict[int, list[int]] = defaultdict(list)
    for row, image in enumerate(images):
        groups[image.prompts].append(row)
    chunks = [
        group[start : start + most] for group in groups.values() for start in range(0, len(group), most)
    ]
    parts = []
    for rows in chunks:
        decoded = vlsm.decode(
            stack_images([images[row] for row in rows]), stack_texts([texts[row] for row in rows])
        )
        parts.append(apply_heads([packs[row].head for row in rows], decoded))
    if len(parts) == 1:
        return parts[0]
    order = torch.tensor([row for rows in chunks for row in rows], device=parts[0].device)
    return torch.cat(parts)[order.argsort()]


def apply_heads(heads: Sequence[AdditiveHead | None], decoded: Decoded) -> Tensor:
    """Logits [B, 1, H, W] under each row's own head, or the model's own where it has none.

    Heads are a convolution each; different ones run as one product over all rows.
    """
    logits = decoded.logits.float()
    having = [(row, head) for row, head in enumerate(heads) if head is not None]
    if not having:
        return logits
    same = all(head is having[0][1] for _, head in having)
    if len(having) == len(heads):
        grid = decoded.grid.float()
        return (
            having[0][1](Decoded(grid, logits)) if same else _different([h for _, h in having], grid, logits)
        )
    rows = torch.tensor([row for row, _ in having], device=logits.device)
    grid, own = decoded.grid.float()[rows], logits[rows]
    new = having[0][1](Decoded(grid, own)) if same else _different([head for _, head in having], grid, own)
    return logits.index_copy(0, rows, new)


def _different(heads: Sequence[AdditiveHead], grid: Tensor, own: Tensor) -> Tensor:
    reduces = [head.reduce.weight[:, :, 0, 0] for head in heads if head.reduce is not None]
    if reduces:
        grid = torch.einsum("bchw,brc->brhw", grid, torch.stack(reduces))
    weight = torch.cat([head.conv.weight for head in heads])
    bias = torch.cat([head.conv.bias for head in heads if head.conv.bias is not None])
    new = convolve_upsampled(grid, weight, bias, own.shape[-2:])
    one = torch.ones((), device=own.device)
    # (1 - r) * own + r * new where mixed, own + new where added.
    of_own = torch.stack([one if head.ratio is None else 1 - head.ratio for head in heads])
    of_new = torch.stack([one if head.ratio is None else head.ratio for head in heads])
    return of_own[:, None, None, None] * own + of_new[:, None, None, None] * new
