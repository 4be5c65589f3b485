"""Segmentation losses."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def bce_dice(logits: Tensor, target: Tensor, positive_weight: float = 1.0) -> Tensor:
    """Binary cross-entropy plus soft Dice per image, averaged; for pretraining.

    The smoothing of one pixel makes Dice of an empty target push every false pixel down.

    Args:
        logits: [B, H, W].
        target: [B, H, W] in 0..1.
        positive_weight: Weight of foreground pixels in the cross-entropy.
    """
    weight = logits.new_tensor(positive_weight)
    bce = F.binary_cross_entropy_with_logits(logits, target, pos_weight=weight)
    probability = logits.sigmoid()
    overlap = (probability * target).sum(dim=(1, 2))
    total = (probability + target).sum(dim=(1, 2))
    return bce + (1 - (2 * overlap + 1) / (total + 1)).mean()
