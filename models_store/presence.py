"""How surely a thing is somewhere in an image, as one number per phrase."""

from __future__ import annotations

import torch
from torch import Tensor

from models_store.identity import PresenceCut

SCORE = "mean of the top 0.5 %"
# Of the pixels of the model's square. A single pixel, or a small window, is near 1 in most images,
# whatever is asked for; the mean of all pixels mostly says how large the thing is.
# docs/decisions/0013-the-absent-decision.md compares them.
SHARE = 0.005


@torch.no_grad()
def presence_of(logits: Tensor) -> Tensor:
    """Mean probability of the most probable 0.5 % of the pixels.

    Args:
        logits: [P, 1, S, S] at the model's size.

    Returns:
        [P], 0..1.
    """
    probability = logits.float().sigmoid().flatten(1)
    counted = max(1, round(SHARE * probability.shape[1]))
    return probability.topk(counted, dim=1).values.mean(dim=1)


def is_absent(presence: float, cut: PresenceCut | None) -> bool | None:
    """Whether a thing counts as absent; None where no cut for this score is known."""
    return None if cut is None or cut.score != SCORE else presence < cut.cut
