"""Parts for tests of the gate: examples without files, and measured sides with chosen Dice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from trainer.data.examples import Examples
from trainer.data.items import LabelledImage
from trainer.data.stacks import MaskStack, PackedMask, SharedImages
from trainer.data.truths import MaskFile
from trainer.gate.measure import UNTUNED, Part, SideResult
from trainer.gate.reliability import PixelReliability
from trainer.metrics import Overlap
from trainer.scores import ImageScore

SIDE = 8
PIXELS = 1000


def rows_of(
    classes: Sequence[str | None], *, images: Sequence[int] | None = None, empty: Sequence[bool] | None = None
) -> Examples:
    """Rows whose files nobody reads: of these classes, images (default one each), and emptiness."""
    count = len(classes)
    at = list(range(count)) if images is None else list(images)
    blank = [False] * count if empty is None else list(empty)
    masks = [np.full((SIDE, SIDE), not none, np.bool_) for none in blank]
    items = tuple(
        LabelledImage(f"i{at[i]}.png", Path(f"i{at[i]}.png"), MaskFile(Path(f"m{i}.png")), {}, None, name)
        for i, name in enumerate(classes)
    )
    packed = tuple(PackedMask(mask) for mask in masks)
    pixels = torch.zeros(max(at) + 1, SIDE, SIDE, 3, dtype=torch.uint8)
    return Examples(
        items,
        SharedImages(pixels, torch.tensor(at)),
        MaskStack.of(list(packed)),
        None,
        packed,
        (None,) * count,
        tuple((name or "thing",) for name in classes),
    )


def side_of(examples: Examples, dice: Sequence[float], marked: Sequence[float] | None = None) -> SideResult:
    """A contender with this Dice per row; on an empty row 1 is no mask, and ``marked`` its share else."""
    scores, areas = [], []
    for row, value in enumerate(dice):
        if examples.truths[row].unpack().any():
            counts = Overlap(round(value * PIXELS), PIXELS, PIXELS)
        else:
            share = (0.0 if value == 1 else 0.5) if marked is None else marked[row]
            counts = Overlap(0, round(share * PIXELS), 0)
        scores.append(ImageScore(examples.items[row].name, examples.phrases[row][0], counts, 0.0))
        areas.append(counts.predicted / PIXELS)
    many = len(scores)
    return SideResult(
        tuple(scores), tuple(areas), (0.8,) * many, (0.5,) * many, PixelReliability(), None, 1.0
    )


def part_of(examples: Examples, units: Sequence[str] | None = None, **dice: Sequence[float]) -> Part:
    """A measured part: Dice per row of ``candidate``, ``champion`` and ``zero_shot``, as given."""
    sides: Mapping[str, SideResult] = {side: side_of(examples, values) for side, values in dice.items()}
    names = [item.name for item in examples.items] if units is None else units
    return Part(examples, tuple(names), dict.fromkeys(sides, UNTUNED), sides)
