"""The curves of a simulation as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trainer.acquisition.simulation.figures import Contents, curve, dice_of, whole_pool
from trainer.acquisition.simulation.plan import Plan
from trainer.acquisition.suggest import AS_IS, COMBINED, DISAGREEMENT, DISTANCE, RANDOM, UNCERTAINTY
from trainer.tuning.figures import png

COLOURS = {
    RANDOM: "#57606a",
    AS_IS: "#a8b1bb",
    UNCERTAINTY: "#d97706",
    DISAGREEMENT: "#dc2626",
    DISTANCE: "#0d9488",
    COMBINED: "#2563eb",
}
# Points of one size stand side by side, so that intervals can be told apart.
SPREAD = 0.05


def curves_chart(results: Sequence[tuple[Plan, Contents]]) -> bytes:
    """Mean Dice against number of labels with 95 % intervals over seeds, a panel per dataset; PNG."""
    figure = Figure(figsize=(0.6 + 5.2 * len(results), 4.4), layout="constrained")
    grid = figure.subplots(1, len(results), squeeze=False)
    for axes, (plan, contents) in zip(grid.flat, results, strict=True):
        _panel(axes, plan, contents)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=8)
    return png(figure)


def _panel(axes: Axes, plan: Plan, contents: Contents) -> None:
    sizes = plan.protocol.sizes
    step = min(b - a for a, b in pairwise(sizes)) * SPREAD
    for at, order in enumerate(plan.orders):
        points = curve(plan, contents, order)
        if not points:
            continue
        shifted = [size + (at - (len(plan.orders) - 1) / 2) * step for size in sizes]
        reach = [[p.mean - p.low for p in points], [p.high - p.mean for p in points]]
        axes.errorbar(
            shifted,
            [p.mean for p in points],
            yerr=reach,
            color=COLOURS[order],
            label=order,
            marker="o",
            markersize=4,
            linewidth=2 if order == RANDOM else 1.4,
            elinewidth=0.8,
            capsize=2,
        )
    everything, zero = whole_pool(plan, contents), dice_of(contents, plan.zero_shot())
    if everything is not None:
        axes.axhline(
            everything.mean,
            color="#57606a",
            linestyle="--",
            linewidth=1,
            label=f"all {plan.protocol.pool} labelled",
        )
    if zero is not None:
        axes.axhline(zero, color="#57606a", linestyle=":", linewidth=1, label="zero-shot")
    axes.set_xticks(sizes)
    axes.set_title(plan.dataset, fontsize=10, parse_math=False)
    axes.set_xlabel("labelled images")
    axes.set_ylabel("mean Dice on val")
    axes.grid(alpha=0.3)
