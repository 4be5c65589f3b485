"""What outputs are made of: images, what the model made of them, and how they are wanted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Event

import numpy as np
from numpy.typing import NDArray

from server.engine import Engine, Segmentation
from server.images import DecodedImage
from server.images.gather import Gathered
from server.images.series import Placement
from server.masks import binarize, label_map
from server.schemas import Combine


@dataclass(frozen=True)
class Case:
    """One image and its segmentation.

    Attributes:
        image: The image, or one frame of it.
        result: What the model made of it.
        source: Which of the images sent it is of, from 0.
        placement: Where in the patient it lies, if it is a slice of a series.
    """

    image: DecodedImage
    result: Segmentation
    source: int = 0
    placement: Placement | None = None

    @property
    def phrases(self) -> list[str]:
        return self.result.phrases

    def labels(self, threshold: float) -> NDArray[np.uint8]:
        """Label map [H, W]: 1 for the first phrase, 0 for background."""
        maps = (self.result.probability(i) for i in range(len(self.phrases)))
        return label_map(maps, threshold)

    def masks(
        self, threshold: float, combine: Combine
    ) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.float32]]]:
        """Mask and probability map [H, W] of each phrase in turn, one pair in memory at a time."""
        labels = self.labels(threshold) if combine is Combine.LABELS else None
        for i in range(len(self.phrases)):
            probability = self.result.probability(i)
            yield binarize(probability, threshold) if labels is None else labels == i + 1, probability


@dataclass(frozen=True)
class Wish:
    """How an answer is wanted.

    Attributes:
        threshold: Where probabilities are cut.
        combine: How masks of several phrases stand to one another.
        probabilities: Whether JSON carries probability maps and the image.
        labels: What each mask is called in a DICOM Segmentation; empty where the phrases say it.
    """

    threshold: float
    combine: Combine = Combine.MASKS
    probabilities: bool = False
    labels: Sequence[str] = ()


@dataclass(frozen=True)
class Written:
    """An output.

    Attributes:
        content: Its bytes.
        media_type: What they are.
        suffix: What a file of them ends with, such as ``.png``.
    """

    content: bytes
    media_type: str
    suffix: str


def segment_cases(
    engine: Engine,
    gathered: Sequence[Gathered],
    phrases: list[str],
    reference: str | None,
    *,
    user: str = "",
    deadline: float | None = None,
    cancelled: Event | None = None,
) -> list[Case]:
    """Segment all images of one call with one version of one checkpoint; see :meth:`Engine.segment_many`."""
    results = engine.segment_many(
        [each.image.pixels for each in gathered],
        phrases,
        reference,
        user=user,
        deadline=deadline,
        cancelled=cancelled,
        image_digests=[each.image.key for each in gathered],
    )
    return [
        Case(each.image, result, each.source, each.placement)
        for each, result in zip(gathered, results, strict=True)
    ]


def longest_steps(cases: Sequence[Case]) -> dict[str, float]:
    """Milliseconds of each step: of several images, the longest, since images share batches."""
    steps: dict[str, float] = {}
    for case in cases:
        for name, milliseconds in case.result.timings_ms.items():
            steps[name] = max(milliseconds, steps.get(name, 0.0))
    return steps
