"""The benchmark's tuning loss."""

from __future__ import annotations

from monai.losses import DiceCELoss
from torch import Tensor

_DICE_CE = DiceCELoss(sigmoid=True, lambda_dice=1.0, lambda_ce=0.2)


def dice_ce(logits: Tensor, target: Tensor) -> Tensor:
    """MONAI's Dice plus cross-entropy as the benchmark weighs them: 1.0 Dice + 0.2 CE.

    Dice is per image; both terms are averaged over the batch.

    Args:
        logits: [B, 1, H, W].
        target: [B, 1, H, W], 0 or 1.
    """
    loss: Tensor = _DICE_CE(logits, target.to(logits.dtype))
    return loss
