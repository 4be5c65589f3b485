"""Pictures of the images on which a pack did worst.

They show the user's own images, so they live where the user asked for them and nowhere else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from models_store.packs import PromptPack
from models_store.vlsm import FrozenVLSM
from trainer.data.examples import Examples
from trainer.evaluate import batched_logits, mask_at_own_size
from trainer.reports.document import Picture
from trainer.reports.outlines import SIDE, jpeg, outlines
from trainer.scores import Evaluation, ImageScore

WORST = 8
BATCH = 8
TRUTH, PREDICTION = (0x21, 0xC4, 0x5D), (0xFF, 0x2F, 0xB9)


@dataclass(frozen=True)
class Case:
    """One image with its truth and the mask it got, as JPEG, and how good that is."""

    score: ImageScore
    jpeg: bytes

    def picture(self, name: str) -> Picture:
        """For a document, under a file name."""
        score = self.score
        distance = "HD95 undefined" if math.isnan(score.hd95) else f"HD95 {score.hd95:.0f} px"
        caption = f'{score.name}, "{score.phrase}": Dice {score.counts.dice:.2f}, {distance}'
        if not score.counts.truth:
            caption += ", nothing to find"
        return Picture(name, caption, self.jpeg)


def worst_cases(
    vlsm: FrozenVLSM,
    pack: PromptPack,
    examples: Examples,
    evaluation: Evaluation,
    *,
    device: torch.device,
    count: int = WORST,
) -> list[Case]:
    """The images with the lowest Dice, worst first, with outlines of truth and prediction.

    Args:
        vlsm: The frozen model.
        pack: The pack that was measured.
        examples: What it was measured on.
        evaluation: What was found, in the same order.
        device: Where the model is.
        count: How many.
    """
    chosen = sorted(range(len(examples)), key=lambda i: evaluation.dice[i])[:count]
    shown = examples.select(chosen)
    cases = []
    for span, logits in batched_logits(vlsm, pack, shown, device=device, batch_size=BATCH):
        for at, index in enumerate(span):
            truth = shown.truths[index].unpack()
            mask = mask_at_own_size(logits[at : at + 1], truth.shape, evaluation.threshold)
            drawn = outlined(shown.items[index].image(), truth, mask)
            cases.append(Case(evaluation.scores[chosen[index]], jpeg(drawn)))
    return cases


def outlined(
    image: NDArray[np.uint8], truth: NDArray[np.bool_], mask: NDArray[np.bool_], side: int = SIDE
) -> NDArray[np.uint8]:
    """An image [h, w, 3] whose longer side is at most ``side``, with both outlines drawn on it."""
    return outlines(image, [(truth, TRUTH), (mask, PREDICTION)], side)
