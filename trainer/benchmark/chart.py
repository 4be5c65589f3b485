"""The table of a benchmark as a picture."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from trainer.benchmark.compare import BASELINE, MULTIMODAL, TEXT, VISUAL, Content, finished, kind_of
from trainer.benchmark.plan import ZERO_SHOT_NAME, Cell
from trainer.tuning.figures import png

COLOURS = {BASELINE: "#7d8590", TEXT: "#d97706", VISUAL: "#2563eb", MULTIMODAL: "#9333ea"}
COLUMNS = 3


def dice_chart(contents: Sequence[tuple[Cell, Content | None]]) -> bytes:
    """Mean Dice with its interval of every finished cell, a panel per dataset; PNG.

    The dotted line is each base's zero-shot Dice.
    """
    cells = finished(contents)
    datasets = list(dict.fromkeys(cell.dataset for cell, _ in contents))
    lines = list(dict.fromkeys((cell.base, cell.method) for cell, _ in contents))
    columns = min(COLUMNS, len(datasets))
    rows = -(-len(datasets) // columns)
    figure = Figure(
        figsize=(1.9 + 3.4 * columns, 0.9 + rows * (0.9 + 0.27 * len(lines))), layout="constrained"
    )
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes in list(grid.flat)[len(datasets) :]:
        axes.set_axis_off()
    for at, (axes, dataset) in enumerate(zip(grid.flat, datasets, strict=False)):
        _panel(axes, dataset, [f for f in cells if f[0].dataset == dataset], lines)
        # sharey keeps labels only on the first column; panels above an empty place need none.
        axes.tick_params(labelleft=at % columns == 0)
    kinds = [k for k in COLOURS if k in {kind_of(method) for _, method in lines}]
    handles = [Line2D([], [], marker="o", linestyle="", color=COLOURS[k], label=k) for k in kinds]
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles), frameon=False)
    return png(figure)


def _panel(
    axes: Axes, dataset: str, cells: Sequence[tuple[Cell, Content]], lines: Sequence[tuple[str, str]]
) -> None:
    several = len({base for base, _ in lines}) > 1
    for cell, content in cells:
        dice, row = content["figures"]["dice"], lines.index((cell.base, cell.method))
        colour = COLOURS[kind_of(cell.method)]
        axes.plot([dice["low"], dice["high"]], [row, row], color=colour, linewidth=2, alpha=0.5)
        axes.plot(dice["mean"], row, "o", color=colour, markersize=6)
        if cell.method == ZERO_SHOT_NAME:
            reach = [i for i, (base, _) in enumerate(lines) if base == cell.base]
            axes.plot([dice["mean"]] * 2, [reach[0] - 0.4, reach[-1] + 0.4], ":", color="#7d8590", zorder=0)
    labels = [f"{method} · {base}" if several else method for base, method in lines]
    axes.set_yticks(range(len(lines)), labels, parse_math=False, fontsize=8)
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.set_title(dataset, fontsize=10, parse_math=False)
    axes.set_xlabel("Dice, 95 % interval", fontsize=8)
    axes.grid(axis="x", alpha=0.3)
