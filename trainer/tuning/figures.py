"""Pictures of a run: its curves, and its best and worst cases.

They show the user's own images, so they live in the user's data folder and nowhere else.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from models_store.packs import PromptPack
from models_store.vlsm import FrozenVLSM
from trainer.data.examples import Examples
from trainer.evaluate import batched_logits, mask_at_own_size
from trainer.scores import Evaluation
from trainer.tuning.state import EpochRecord

CASES = 4
TRUTH_COLOUR, PREDICTION_COLOUR = "#21c45d", "#ff2fb9"


def png(figure: Figure) -> bytes:
    """A figure as PNG bytes, drawn without a display."""
    content = io.BytesIO()
    FigureCanvasAgg(figure).print_png(content)
    return content.getvalue()


def loss_plot(history: Sequence[EpochRecord], best_epoch: int) -> bytes:
    """Training and selection loss over epochs."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    epochs = [r.epoch for r in history]
    axes.plot(epochs, [r.train_loss for r in history], marker=".", label="training images")
    axes.plot(epochs, [r.select_loss for r in history], marker=".", label="selection images")
    _finish(axes, "DiceCE loss", best_epoch)
    return png(figure)


def dice_plot(history: Sequence[EpochRecord], best_epoch: int) -> bytes:
    """Dice on the selection images over epochs."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot([r.epoch for r in history], [r.select_dice for r in history], marker=".", label="selection")
    axes.set_ylim(0, 1)
    _finish(axes, "mean Dice", best_epoch)
    return png(figure)


def _finish(axes: Axes, title: str, best_epoch: int) -> None:
    axes.axvline(best_epoch, color="grey", linestyle=":", label=f"chosen: epoch {best_epoch}")
    axes.set_xlabel("epoch")
    axes.set_ylabel(title)
    axes.grid(alpha=0.3)
    axes.legend()


def case_order(dice: Sequence[float], cases: int = CASES) -> tuple[list[int], list[int]]:
    """Indices of the best and of the worst cases, best and worst first; no image is in both."""
    order = sorted(range(len(dice)), key=lambda i: dice[i])
    each = min(cases, len(order) // 2)
    return list(reversed(order[len(order) - each :])), order[:each]


def case_sheet(
    vlsm: FrozenVLSM, pack: PromptPack, examples: Examples, evaluation: Evaluation, *, device: torch.device
) -> bytes:
    """The best cases above the worst, with outlines of truth and prediction and the Dice of each."""
    best, worst = case_order(evaluation.dice)
    columns = max(len(best), 1)
    figure = Figure(figsize=(3 * columns, 6.6), layout="constrained")
    figure.suptitle("best (above) and worst (below): truth green, prediction magenta", fontsize=10)
    grid = figure.subplots(2, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for row, chosen in zip(grid, (best, worst), strict=True):
        if chosen:
            _draw_row(row, vlsm, pack, examples.select(chosen), evaluation, chosen, device)
    return png(figure)


def _draw_row(
    row: NDArray,
    vlsm: FrozenVLSM,
    pack: PromptPack,
    shown: Examples,
    evaluation: Evaluation,
    chosen: Sequence[int],
    device: torch.device,
) -> None:
    for span, logits in batched_logits(vlsm, pack, shown, device=device, batch_size=CASES):
        for at, index in enumerate(span):
            truth = shown.truths[index].unpack()
            mask = mask_at_own_size(logits[at : at + 1], truth.shape, evaluation.threshold)
            axes = row[index]
            axes.imshow(shown.items[index].image())
            _outline(axes, truth, TRUTH_COLOUR)
            _outline(axes, mask, PREDICTION_COLOUR)
            # Names are the user's and may hold what matplotlib reads as mathematics.
            title = f"{shown.items[index].name}\nDice {evaluation.dice[chosen[index]]:.2f}"
            axes.set_title(title, fontsize=8, parse_math=False)


def _outline(axes: Axes, mask: NDArray[np.bool_], colour: str) -> None:
    # A border of background closes outlines that touch the image's edge; a blank mask has no contour.
    if mask.any():
        padded = np.pad(mask, 1).astype(float)
        columns, rows = np.arange(-1, mask.shape[1] + 1), np.arange(-1, mask.shape[0] + 1)
        axes.contour(columns, rows, padded, levels=[0.5], colors=[colour], linewidths=1.2)
