"""Training batches, each a pure function of (seed, epoch, step, part)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.data.examples import Examples
from trainer.tuning.views import ViewKey, Views


@dataclass(frozen=True)
class Batch:
    """Rows to train on.

    Attributes:
        views: The distinct views shown.
        at: [B] which of them each row shows.
        masks: [B, 1, S, S], 0 or 1.
        ignore: [B, 1, S, S] bool, pixels to leave out of the loss; None where there are none.
        phrases: One per row.
        share: These rows' share of the step's.
    """

    views: list[ViewKey]
    at: Tensor
    masks: Tensor
    ignore: Tensor | None
    phrases: list[str]
    share: float


class BatchSource:
    """Draws batches; a step gives the same one whatever ran before it.

    Args:
        examples: What to train on.
        views: The views of its images.
        device: Where masks go.
        batch_size: Rows per part; with ``joint``, images per part.
        parts: Parts of a step: portions to accumulate times devices.
        min_steps: An epoch that would have fewer steps repeats its images until it has as many.
        max_steps: An epoch that would have more steps ends after as many; None ends none early.
        seed: Seed of order and choice of phrase.
        joint: Whether a part takes all rows of its images together.
    """

    def __init__(
        self,
        *,
        examples: Examples,
        views: Views,
        device: torch.device,
        batch_size: int,
        parts: int = 1,
        min_steps: int,
        max_steps: int | None = None,
        seed: int,
        joint: bool = False,
    ):
        self._examples, self._views, self._device, self._seed = examples, views, device, seed
        self._units = (
            [np.array(rows) for rows in examples.rows_by_image()]
            if joint
            else [np.array([row]) for row in range(len(examples))]
        )
        self.parts = parts
        count = len(self._units)
        self._size = min(batch_size * parts, count)
        once = math.ceil(count / self._size)
        self.steps = max(once, min_steps)
        if max_steps is not None:
            self.steps = min(self.steps, max_steps)
        self._passes = 1 if self.steps <= once else math.ceil(self.steps * self._size / count)

    def batch(self, epoch: int, step: int, part: int = 0) -> Batch | None:
        """One part of a step, all counted from 0; None where a short step leaves it nothing."""
        rows, turns = self._chosen(epoch, step)
        draw = np.random.default_rng([self._seed, epoch, step])
        texts = [self._examples.phrases[row] for row in rows]
        phrases = [text[draw.integers(len(text))] for text in texts]
        mine = np.array_split(np.arange(len(rows)), self.parts)[part]
        if len(mine) == 0:
            return None
        self._views.forget_drawn()
        keys = [self._views.key(rows[i], turns[i]) for i in mine]
        distinct = list(dict.fromkeys(keys))
        index = {key: at for at, key in enumerate(distinct)}
        masks = torch.stack([self._views.masks(rows[i], key) for i, key in zip(mine, keys, strict=True)])
        masks = masks.to(self._device)
        return Batch(
            distinct,
            torch.tensor([index[key] for key in keys], device=self._device),
            masks[:, :1].float(),
            None if self._examples.ignore is None else masks[:, 1:],
            [phrases[i] for i in mine],
            len(mine) / len(rows),
        )

    def _chosen(self, epoch: int, step: int) -> tuple[list[int], list[int]]:
        """The rows of a step, and for each how often its image was gone through before."""
        order = np.random.default_rng([self._seed, epoch])
        indices = np.concatenate([order.permutation(len(self._units)) for _ in range(self._passes)])
        span = slice(step * self._size, (step + 1) * self._size)
        first = epoch * self._passes
        turns = first + np.arange(len(indices))[span] // len(self._units)
        rows: list[NDArray[np.int64]] = [self._units[unit] for unit in indices[span]]
        repeated = np.repeat(turns, [len(unit) for unit in rows])
        return np.concatenate(rows).tolist(), repeated.tolist()
