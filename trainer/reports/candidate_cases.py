"""Pictures of the images on which a candidate did worst, and of those that it changed most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from models_store.vlsm import FrozenVLSM
from trainer.evaluate import batched_logits, mask_at_own_size
from trainer.gate.measure import CANDIDATE, Part
from trainer.reports.candidate_plots import NAMES
from trainer.reports.document import Picture
from trainer.reports.outlines import jpeg, outlines

COUNT = 10
BATCH = 8
TRUTH, CHAMPION_COLOUR, CANDIDATE_COLOUR = (0x21, 0xC4, 0x5D), (0xF5, 0x9E, 0x0B), (0xFF, 0x2F, 0xB9)

At = tuple[int, int]
"""Which part, and which of its rows."""


@dataclass(frozen=True)
class Cases:
    """The worst, and the most changed."""

    worst: tuple[Picture, ...]
    changed: tuple[Picture, ...]


def candidate_cases(
    vlsm: FrozenVLSM, parts: Sequence[Part], against: str, *, device: torch.device, count: int = COUNT
) -> Cases:
    """Draw the rows of the lowest Dice and of the largest change, with all outlines.

    Args:
        vlsm: The frozen model.
        parts: What was measured.
        against: ``champion`` or ``zero_shot``, whose outline stands beside the candidate's.
        device: Where the model is.
        count: How many of each.
    """
    rows = [(p, row) for p, part in enumerate(parts) for row in range(len(part.examples))]
    both = [at for at in rows if against in parts[at[0]].results]

    def dice(at: At, side: str = CANDIDATE) -> float:
        return parts[at[0]].results[side].scores[at[1]].counts.dice

    def gain(at: At) -> float:
        return dice(at) - dice(at, against) if against in parts[at[0]].results else 0.0

    # Of several at 0 those that lost most come first.
    worst = sorted(rows, key=lambda at: (dice(at), gain(at)))[:count]
    changed = sorted(both, key=lambda at: -abs(gain(at)))[:count]
    drawn = {
        at: _drawing(parts[at[0]], at[1], masks, against)
        for at, masks in _masks(vlsm, parts, sorted({*worst, *changed}), against, device).items()
    }
    return Cases(
        *(
            tuple(
                Picture(f"{name}-{i:02d}.jpg", _caption(parts[at[0]], at[1], against), drawn[at])
                for i, at in enumerate(chosen, start=1)
            )
            for name, chosen in (("worst", worst), ("changed", changed))
        )
    )


def _masks(
    vlsm: FrozenVLSM, parts: Sequence[Part], chosen: Sequence[At], against: str, device: torch.device
) -> dict[At, dict[str, NDArray[np.bool_]]]:
    """Masks of the chosen rows by side, made again by the packs that were measured."""
    found: dict[At, dict[str, NDArray[np.bool_]]] = {at: {} for at in chosen}
    for p, part in enumerate(parts):
        rows = [row for q, row in chosen if q == p]
        if not rows:
            continue
        shown = part.examples.select(rows)
        for side in (against, CANDIDATE):
            if side not in part.contenders:
                continue
            contender = part.contenders[side]
            for span, logits in batched_logits(vlsm, contender.pack, shown, device=device, batch_size=BATCH):
                for at, index in enumerate(span):
                    size = shown.truths[index].shape
                    mask = mask_at_own_size(logits[at : at + 1], size, contender.threshold)
                    found[p, rows[index]][side] = mask
    return found


def _drawing(part: Part, row: int, masks: dict[str, NDArray[np.bool_]], against: str) -> bytes:
    image, truth = part.examples.items[row].image(), part.examples.truths[row].unpack()
    regions = [(truth, TRUTH)]
    regions += [(masks[against], CHAMPION_COLOUR)] if against in masks else []
    return jpeg(outlines(image, [*regions, (masks[CANDIDATE], CANDIDATE_COLOUR)]))


def _caption(part: Part, row: int, against: str) -> str:
    sides = [side for side in (against, CANDIDATE) if side in part.results]
    figures = ", ".join(f"{NAMES[side]} {part.results[side].scores[row].counts.dice:.2f}" for side in sides)
    score = part.results[CANDIDATE].scores[row]
    nothing = "" if score.counts.truth else ", nothing to find"
    return f'{score.name}, "{score.phrase}": Dice {figures}{nothing}'
