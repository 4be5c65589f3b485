"""What makes an image worth labelling, as numbers.

Both scores of masks are at the model's square, where probabilities come from: how an image is squashed
to it hardly changes which of two masks agree more.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models_store.presence import presence_of

FARTHEST = 2.0
"""The largest cosine distance there is."""


@torch.no_grad()
def expected_dice(logits: Tensor, threshold: float) -> Tensor:
    """The Dice a mask can expect if the model's own probabilities are right.

    2 * sum of p over the mask / (pixels of the mask + sum of all p): the Soft Dice Confidence of Borges,
    Pacheco and Silva (2024, arXiv:2402.10665), which is close to the expectation if pixels are
    independent. It says nothing of an empty mask, whose Dice is 1 if the thing is absent: there it is one
    minus the presence score of :mod:`models_store.presence`.

    Args:
        logits: [P, 1, S, S].
        threshold: Probability above which a pixel belongs to the mask.

    Returns:
        [P], 0..1.
    """
    probability = logits.float().sigmoid().flatten(1)
    mask = probability > threshold
    marked = mask.sum(1)
    soft = 2 * (probability * mask).sum(1) / (marked + probability.sum(1)).clamp(min=1)
    return torch.where(marked > 0, soft, 1 - presence_of(logits)).clamp(0, 1)


def masks_dice(first: Tensor, second: Tensor) -> Tensor:
    """Dice between masks [P, S, S] bool, row by row, as [P]; 1 where both are empty."""
    both = (first & second).flatten(1).sum(1)
    total = first.flatten(1).sum(1) + second.flatten(1).sum(1)
    return torch.where(total > 0, 2 * both / total.clamp(min=1), 1.0)


def unit_rows(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Features [N, w] at length 1, so that products of two are cosines; zeros stay zeros."""
    lengths: NDArray[np.float64] = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.maximum(lengths, np.finfo(np.float64).tiny)


def cosine_distances(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 - cosine similarity of unit features [N, w] and [M, w], as [N, M] in 0..2."""
    return (1 - one @ other.T).clip(0, FARTHEST)
