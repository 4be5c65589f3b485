"""Means over rows whose uncertainty is that of the choice of independent units."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from trainer.metrics import RESAMPLES

_DRAWS_AT_ONCE = 1_000_000


class Estimate(BaseModel):
    """A mean over ``rows`` rows of ``units`` units, with its bootstrap interval."""

    model_config = ConfigDict(frozen=True)

    mean: float
    low: float
    high: float
    rows: int
    units: int


def clustered_mean(
    values: Sequence[float],
    units: Sequence[int],
    *,
    confidence: float,
    seed: int,
    resamples: int = RESAMPLES,
) -> Estimate:
    """Mean over rows and a percentile interval from resampling whole units with replacement.

    The cluster bootstrap (Davison and Hinkley, Bootstrap Methods and their Application, 1997, section
    3.8): rows of one unit are drawn together, since they are no independent evidence. One unit alone
    gives an interval without width; whoever decides by it asks for more units first.

    Args:
        values: One number per row.
        units: Which unit each row is of.
        confidence: Of the two-sided interval, such as 0.9.
        seed: Seed of the resampling.
        resamples: How many times to resample.

    Raises:
        ValueError: There are no values, or not one unit per value.
    """
    if not values or len(values) != len(units):
        raise ValueError(f"{len(values)} values of {len(units)} units have no mean")
    observed = np.asarray(values, dtype=np.float64)
    _, unit_of = np.unique(np.asarray(units), return_inverse=True)
    sums, rows = np.bincount(unit_of, observed), np.bincount(unit_of)
    count = len(rows)
    rng = np.random.default_rng(seed)
    at_once = max(1, _DRAWS_AT_ONCE // count)
    sizes = [min(at_once, resamples - start) for start in range(0, resamples, at_once)]
    means = []
    for size in sizes:
        drawn = rng.multinomial(count, np.full(count, 1 / count), size=size)
        means.append((drawn @ sums) / (drawn @ rows))
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return Estimate(
        mean=float(observed.mean()), low=float(low), high=float(high), rows=len(observed), units=count
    )
