"""The benchmark's tuning loss."""

from __future__ import annotations

from monai.losses import DiceCELoss
from torch import Tensor
from torch.nn import functional as F

_DICE_CE = DiceCELoss(sigmoid=True, lambda_dice=1.0, lambda_ce=0.2)
# The logit of pixels nobody labelled: surely background, which their target then is as well.
_BACKGROUND = -1e4


def dice_ce(logits: Tensor, target: Tensor, ignore: Tensor | None = None) -> Tensor:
    """MONAI's Dice plus cross-entropy as the benchmark weighs them: 1.0 Dice + 0.2 CE.

    Dice is per row; both terms are averaged over the batch. With several classes of an image, each
    a row of its own, this is the sum over classes up to a constant.

    Args:
        logits: [B, 1, H, W].
        target: [B, 1, H, W], 0 or 1.
        ignore: [B, 1, H, W] bool: pixels that are neither right nor wrong. Cross-entropy is then a row's
            mean over its other pixels.
    """
    logits = logits.float()
    target = target.to(logits.dtype)
    if ignore is None or not ignore.any():
        loss: Tensor = _DICE_CE(logits, target)
        return loss
    counted = (~ignore).to(logits.dtype)
    # Dice sees a sure and right background there.
    dice: Tensor = _DICE_CE.dice(logits.masked_fill(ignore, _BACKGROUND), target * counted)
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none") * counted
    per_row = entropy.sum(dim=(1, 2, 3)) / counted.sum(dim=(1, 2, 3)).clamp(min=1)
    return _DICE_CE.lambda_dice * dice + _DICE_CE.lambda_ce * per_row.mean()
