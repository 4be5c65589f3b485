"""Charts of a report, from its own figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trainer.tuning.figures import png

BINS = np.linspace(0, 1, 21)
COLOURS = {"zero_shot": "#7d8590", "tuned": "#2563eb"}
NAMES = {"zero_shot": "zero-shot", "tuned": "tuned"}


def sides_of(report: dict[str, Any]) -> list[str]:
    """``zero_shot``, and ``tuned`` where the report has it."""
    return [side for side in ("zero_shot", "tuned") if side in report]


def curves(training: dict[str, Any]) -> bytes:
    """Loss and Dice over epochs, from the ``training`` part of a report."""
    history, best = training["history"], training["best_epoch"]
    epochs = [record["epoch"] for record in history]
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    loss, dice = figure.subplots(1, 2)
    loss.plot(epochs, [r["train_loss"] for r in history], marker=".", label="training images")
    loss.plot(epochs, [r["select_loss"] for r in history], marker=".", label="selection images")
    loss.set_ylabel("loss")
    dice.plot(epochs, [r["select_dice"] for r in history], marker=".", label="selection images")
    dice.set_ylabel("mean Dice")
    dice.set_ylim(0, 1)
    for axes in (loss, dice):
        axes.axvline(best, color="grey", linestyle=":", label=f"chosen: epoch {best}")
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    return png(figure)


def dice_distribution(report: dict[str, Any]) -> bytes:
    """How Dice is spread over images; with a tuned pack also image against image."""
    sides = sides_of(report)
    dice = {side: [image[side]["dice"] for image in report["images"]] for side in sides}
    figure = Figure(figsize=(4.6 * len(sides), 3.4), layout="constrained")
    panels = list(figure.subplots(1, len(sides), squeeze=False).flat)
    for side in sides:
        label = f"{NAMES[side]}, mean {np.mean(dice[side]):.3f}"
        panels[0].hist(dice[side], bins=BINS, color=COLOURS[side], alpha=0.6, label=label)
    panels[0].set_xlabel("Dice of an image")
    panels[0].set_ylabel("images")
    panels[0].yaxis.get_major_locator().set_params(integer=True)
    panels[0].legend()
    if "tuned" in dice:
        _image_against_image(panels[1], dice["zero_shot"], dice["tuned"])
    return png(figure)


def _image_against_image(axes: Axes, before: Sequence[float], after: Sequence[float]) -> None:
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    axes.scatter(before, after, s=14, alpha=0.6, color=COLOURS["tuned"], clip_on=False)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("Dice, zero-shot")
    axes.set_ylabel("Dice, tuned")
    better = sum(b > a for a, b in zip(before, after, strict=True))
    axes.set_title(f"better on {better} of {len(before)} images", fontsize=10)


def paraphrase_plot(sensitivity: dict[str, Any]) -> bytes:
    """Mean Dice with its interval under each way of asking."""
    sides = sides_of(sensitivity)
    labels = [p["label"] for p in sensitivity[sides[0]]["paraphrases"]]
    figure = Figure(figsize=(8, 1.2 + 0.34 * len(labels)), layout="constrained")
    axes = figure.subplots()
    for at, side in enumerate(sides):
        means = [p["dice"]["mean"] for p in sensitivity[side]["paraphrases"]]
        low = [m - p["dice"]["low"] for m, p in zip(means, sensitivity[side]["paraphrases"], strict=True)]
        high = [p["dice"]["high"] - m for m, p in zip(means, sensitivity[side]["paraphrases"], strict=True)]
        rows = np.arange(len(labels)) + 0.16 * (at - (len(sides) - 1) / 2)
        # Rounding may put a mean a hair outside its own interval.
        errors = np.maximum([low, high], 0)
        axes.errorbar(means, rows, xerr=errors, fmt="o", color=COLOURS[side], label=NAMES[side], markersize=5)
    axes.set_yticks(range(len(labels)), labels, parse_math=False)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel("mean Dice, 95 % interval")
    axes.grid(alpha=0.3, axis="x")
    figure.legend(loc="outside upper right", ncols=len(sides), frameon=False)
    return png(figure)
