"""Charts of a candidate's report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from trainer.gate.judge import Comparison
from trainer.gate.record import RowRecord
from trainer.gate.reliability import Curve
from trainer.tuning.figures import png

COLOURS = {"candidate": "#2563eb", "champion": "#d97706", "zero_shot": "#7d8590"}
NAMES = {"candidate": "candidate", "champion": "champion", "zero_shot": "zero-shot"}


def image_by_image(rows: Sequence[RowRecord], against: str) -> bytes:
    """Dice of each row, other against candidate, and the changes in order of size."""
    both = [row for row in rows if against in row.sides]
    before = np.array([row.sides[against].dice for row in both])
    after = np.array([row.sides["candidate"].dice for row in both])
    empty = np.array([row.truth_px == 0 for row in both])
    figure = Figure(figsize=(9.6, 4), layout="constrained")
    points, order = figure.subplots(1, 2)
    points.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    for chosen, marker, label in ((~empty, "o", "something to find"), (empty, "x", "nothing to find")):
        if chosen.any():
            points.scatter(
                before[chosen],
                after[chosen],
                s=18,
                alpha=0.6,
                marker=marker,
                color=COLOURS["candidate"] if marker == "o" else "#b91c1c",
                clip_on=False,
                label=f"{label}, {chosen.sum()}",
            )
    points.set_xlim(0, 1)
    points.set_ylim(0, 1)
    points.set_aspect("equal")
    points.set_xlabel(f"Dice, {NAMES[against]}")
    points.set_ylabel("Dice, candidate")
    points.legend(fontsize=8, loc="lower right")
    gains = np.sort(after - before)
    order.bar(
        np.arange(len(gains)), gains, width=1.0, color=np.where(gains < 0, "#b91c1c", COLOURS["candidate"])
    )
    order.axhline(0, color="grey", linewidth=0.8)
    order.set_ylim(-1, 1)
    order.set_xlabel("images, in order of change")
    order.set_ylabel(f"Dice, candidate minus {NAMES[against]}")
    better, worse = int((gains > 0).sum()), int((gains < 0).sum())
    order.set_title(
        f"better on {better}, worse on {worse}, the same on {len(gains) - better - worse}", fontsize=10
    )
    return png(figure)


def gains_plot(comparisons: Mapping[str, Comparison], accepted_loss: float) -> bytes:
    """Mean change in Dice with its interval: overall, per class and per label."""
    rows = []
    for side, found in comparisons.items():
        whole = [("all", found.dice.difference)]
        classes = [(p.name, p.dice.difference) for p in found.by_class] if len(found.by_class) > 1 else []
        labels = [(f"label: {p.name}", p.dice.difference) for p in found.by_label]
        rows += [(side, name, estimate) for name, estimate in (whole + classes + labels)[:20]]
    figure = Figure(figsize=(8, 1.4 + 0.34 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for at, (side, _, estimate) in enumerate(rows):
        # Rounding may put a mean a hair outside its own interval.
        errors = np.maximum([[estimate.mean - estimate.low], [estimate.high - estimate.mean]], 0)
        axes.errorbar(estimate.mean, at, xerr=errors, fmt="o", color=COLOURS[side], markersize=5)
    axes.set_xlim(left=min(axes.get_xlim()[0], -1.5 * accepted_loss))
    axes.axvline(0, color="grey", linewidth=0.8)
    axes.axvline(-accepted_loss, color="#b91c1c", linewidth=0.8, linestyle=":")
    axes.set_yticks(
        range(len(rows)),
        [f"{_short(name)} ({e.rows}), vs {NAMES[side]}" for side, name, e in rows],
        parse_math=False,
        fontsize=8,
    )
    axes.invert_yaxis()
    axes.set_xlabel("mean change in Dice; dotted: the loss a class may have")
    axes.grid(alpha=0.3, axis="x")
    return png(figure)


def reliability_plot(pixels: Mapping[str, Curve], masks: Mapping[str, Curve]) -> bytes:
    """Pixel probabilities against frequencies, and confidence of masks against their Dice."""
    figure = Figure(figsize=(9.6, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, curves in ((left, pixels), (right, masks)):
        axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
        for side, curve in curves.items():
            said, so, weight = ([point[key] for point in curve] for key in ("said", "so", "weight"))
            axes.plot(said, so, color=COLOURS[side], linewidth=1, label=NAMES[side])
            axes.scatter(said, so, s=[12 + 150 * w for w in weight], color=COLOURS[side], alpha=0.6)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.set_aspect("equal")
        axes.legend(fontsize=8, loc="upper left")
    left.set_xlabel("probability of a pixel")
    left.set_ylabel("share that is in the truth")
    right.set_xlabel("confidence of a mask")
    right.set_ylabel("its Dice")
    return png(figure)


def _short(name: str) -> str:
    return name if len(name) <= 40 else f"{name[:37]}..."
