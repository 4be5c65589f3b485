"""What the engine gives back."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from models_store.preprocess import to_image_size
from models_store.registry import Reference
from server.engine.checkpoints import ServedCheckpoint

DEFAULT_THRESHOLD = 0.5
CacheUse = Literal["hit", "miss"]


class Clock:
    """Milliseconds of named steps, one after another."""

    def __init__(self) -> None:
        self.steps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> float:
        """Book the time since the last lap (or the start) to a step; the seconds it took."""
        now = time.perf_counter()
        seconds = now - self._last
        self.steps[name] = self.steps.get(name, 0.0) + seconds * 1000
        self._last = now
        return seconds


@dataclass(frozen=True)
class Segmentation:
    """What the model made of one image and its phrases.

    Attributes:
        phrases: The P phrases.
        logits: [P, 1, S, S] at the model's size. Maps at the image's own size are made one at
            a time, since several of a large image would fill the memory.
        height, width: The image's own size.
        checkpoint: The one used; None means zero-shot.
        timings_ms: Steps ``load`` (where a checkpoint was read), ``prepare``, ``wait`` (for one's
            turn), ``image``, ``text`` and ``mask``; the last three are those of the whole batch.
        cache: For ``image`` and ``text``, whether nothing of them had to be computed.
        batch_rows: Pairs of image and phrase in the batch that it was made in.
        instead_of: The version that the alias names, where it is damaged and ``checkpoint`` is the
            one before it.
    """

    phrases: list[str]
    logits: Tensor
    height: int
    width: int
    checkpoint: ServedCheckpoint | None
    timings_ms: dict[str, float]
    cache: dict[str, CacheUse] = field(default_factory=dict)
    instead_of: Reference | None = None
    batch_rows: int = 0

    @property
    def threshold(self) -> float:
        """Where the checkpoint wants probabilities cut."""
        return DEFAULT_THRESHOLD if self.checkpoint is None else self.checkpoint.threshold

    def probability(self, index: int) -> NDArray[np.float32]:
        """Probability map [height, width] of one phrase, at the image's own size."""
        resized = to_image_size(self.logits[index : index + 1], self.height, self.width)
        return np.asarray(resized[0].numpy(), dtype=np.float32)
