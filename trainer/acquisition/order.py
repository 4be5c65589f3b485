"""Orders of images by what they are worth; of equals, the one given first comes first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.acquisition.scores import FARTHEST, cosine_distances, unit_rows

# Values that agree to so many decimals count as equal: they differ by rounding alone.
DECIMALS = 6


@dataclass(frozen=True)
class Nearest:
    """The image another one is nearest to.

    Attributes:
        index: Which.
        labelled: Whether it is among the labelled ones, or comes earlier in the order.
        distance: Cosine distance between the two, 0..2.
    """

    index: int
    labelled: bool
    distance: float


@dataclass(frozen=True)
class Pick:
    """One place of an order.

    Attributes:
        index: The image.
        gain: What it was chosen for.
        nearest: The labelled or earlier image it is most like, at the moment it was chosen; None
            where there was none.
    """

    index: int
    gain: float
    nearest: Nearest | None


def largest_first(values: Sequence[float]) -> list[int]:
    """Indices by value, the largest first."""
    rounded = np.round(np.asarray(values, dtype=np.float64), DECIMALS)
    return np.argsort(-rounded, kind="stable").tolist()


def shuffled(count: int, seed: int) -> list[int]:
    """Indices in an order drawn by the seed."""
    return np.random.default_rng([seed, 5]).permutation(count).tolist()


def farthest_first(
    pool: NDArray[np.float64],
    labelled: NDArray[np.float64],
    *,
    weights: NDArray[np.float64] | None = None,
    limit: int | None = None,
) -> list[Pick]:
    """Greedy k-center: next comes what is farthest from all that is labelled or came before.

    Source: Sener and Savarese (2018), "Active learning for convolutional neural networks: a core-set
    approach", its greedy algorithm; here distances may be weighted by what each image is worth.

    Args:
        pool: Features of the unlabelled images [N, w].
        labelled: Features of the labelled ones [M, w]; M may be 0: all images are then equally far.
        weights: [N], what distances are multiplied with; None weighs all alike.
        limit: How many to choose; None orders all.
    """
    count, pool, labelled = len(pool), unit_rows(pool), unit_rows(labelled)
    weigh = np.ones(count) if weights is None else np.asarray(weights, dtype=np.float64)
    distance = np.full(count, FARTHEST)
    at, from_labelled = np.full(count, -1), np.full(count, True)
    if len(labelled):
        to_labelled = cosine_distances(pool, labelled)
        at = to_labelled.argmin(axis=1)
        distance = to_labelled[np.arange(count), at]
    left = np.full(count, True)
    picks: list[Pick] = []
    for _ in range(count if limit is None else min(limit, count)):
        gains = np.where(left, np.round(weigh * distance, DECIMALS), -1.0)
        index = int(gains.argmax())
        nearest = Nearest(int(at[index]), bool(from_labelled[index]), float(distance[index]))
        picks.append(Pick(index, float(weigh[index] * distance[index]), nearest if at[index] >= 0 else None))
        left[index] = False
        from_pick = cosine_distances(pool, pool[index : index + 1])[:, 0]
        closer = from_pick < distance
        distance, at = np.where(closer, from_pick, distance), np.where(closer, index, at)
        from_labelled &= ~closer
    return picks
