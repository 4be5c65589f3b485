"""Curves over seeds, and how each order compares with drawing at random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from scipy import stats

from trainer.acquisition.simulation.plan import Cell, Plan
from trainer.metrics import CONFIDENCE, Interval

Contents = Mapping[Cell, dict[str, Any] | None]


def seeds_interval(values: Sequence[float]) -> Interval:
    """Mean over seeds with Student's 95 % interval; of one value the interval is that value.

    Unlike intervals over images, it tells how another run would turn out: seeds differ in the first
    labels, in what is drawn, and in the run itself.

    Raises:
        ValueError: There are no values.
    """
    if not values:
        raise ValueError("no values to average")
    mean, n = fmean(values), len(values)
    if n == 1:
        return Interval(mean, mean, mean, n)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) * stdev(values) / n**0.5
    return Interval(mean, mean - half, mean + half, n)


@dataclass(frozen=True)
class Comparison:
    """An order against another on the same seeds.

    Attributes:
        order: The one.
        difference: Of the mean Dice over all sizes after the first, in Dice.
        last: Of Dice at the largest size.
    """

    order: str
    difference: Interval
    last: Interval

    @property
    def reads(self) -> str:
        """What the difference says, in words."""
        if self.difference.n == 1:
            return "one seed tells nothing"
        if self.difference.low > 0:
            return "better"
        return "worse" if self.difference.high < 0 else "not told apart"


def dice_of(contents: Contents, cell: Cell) -> float | None:
    """A cell's mean Dice, or None."""
    content = contents.get(cell)
    return None if content is None else float(content["dice"])


def whole_seeds(plan: Plan, contents: Contents, orders: Sequence[str]) -> list[int]:
    """The seeds of which every one of some orders has a whole curve."""
    return [
        seed
        for seed in plan.seeds
        if all(dice_of(contents, cell) is not None for order in orders for cell in plan.curve(order, seed))
    ]


def curve(plan: Plan, contents: Contents, order: str) -> list[Interval]:
    """Dice at each size, over the seeds that all orders have; empty if there are none."""
    seeds = whole_seeds(plan, contents, plan.orders)
    if not seeds:
        return []
    columns = zip(*(_curve_dice(plan, contents, order, seed) for seed in seeds), strict=True)
    return [seeds_interval(column) for column in columns]


def compare(plan: Plan, contents: Contents, order: str, other: str) -> Comparison | None:
    """An order minus another, paired by seed; None without a seed that both have."""
    seeds = whole_seeds(plan, contents, (order, other))
    if not seeds:
        return None
    pairs = [(_curve_dice(plan, contents, order, s), _curve_dice(plan, contents, other, s)) for s in seeds]
    return Comparison(
        order,
        seeds_interval([fmean(one[1:]) - fmean(two[1:]) for one, two in pairs]),
        seeds_interval([one[-1] - two[-1] for one, two in pairs]),
    )


def whole_pool(plan: Plan, contents: Contents) -> Interval | None:
    """Dice with the whole pool labelled."""
    found = [dice_of(contents, plan.whole_pool(seed)) for seed in plan.seeds]
    known = [dice for dice in found if dice is not None]
    return seeds_interval(known) if known else None


def room(plan: Plan, contents: Contents) -> Interval | None:
    """Dice with the whole pool labelled minus Dice with the first labels, paired by seed.

    What an order can gain lies in between: where it is not above 0, labels are not what is lacking.
    """
    first = plan.protocol.sizes[0]
    pairs = [
        (dice_of(contents, plan.whole_pool(seed)), dice_of(contents, plan.cell(plan.orders[0], first, seed)))
        for seed in plan.seeds
    ]
    differences = [whole - start for whole, start in pairs if whole is not None and start is not None]
    return seeds_interval(differences) if differences else None


def _curve_dice(plan: Plan, contents: Contents, order: str, seed: int) -> list[float]:
    found = [dice_of(contents, cell) for cell in plan.curve(order, seed)]
    return [dice for dice in found if dice is not None]
