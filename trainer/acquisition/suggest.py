"""Unlabelled images in the order in which labels should help most."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from models_store.errors import BadInputError, UnknownNameError
from models_store.packs import PromptPack
from models_store.vlsm import FrozenVLSM
from trainer.acquisition.explain import as_is_words, dissent_words, doubt_words, nearest_words, random_words
from trainer.acquisition.images import ImageSet
from trainer.acquisition.measure import Opinion, opinions, pooled_features
from trainer.acquisition.order import Pick, farthest_first, largest_first, shuffled
from trainer.evaluate import THRESHOLD, check_threshold

UNCERTAINTY: Final = "uncertainty"
DISAGREEMENT: Final = "disagreement"
DISTANCE: Final = "distance"
COMBINED: Final = "combined"
RANDOM: Final = "random"
AS_IS: Final = "as-is"
ORDERS = (COMBINED, UNCERTAINTY, DISAGREEMENT, DISTANCE, RANDOM, AS_IS)
OF_MASKS = (UNCERTAINTY, DISAGREEMENT, COMBINED)
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Suggestion:
    """An image and its place in an order.

    Attributes:
        index: Of the image among the unlabelled.
        name: Its name.
        gain: What it was ordered by, larger first; None in orders that weigh nothing.
        reason: Why it stands there, in words.
        uncertainty: 1 - the Dice its mask can expect; None where it was not asked.
        disagreement: 1 - the least Dice between the first checkpoint's mask and another's.
        distance: Cosine distance to the nearest image that is labelled or earlier in the order.
    """

    index: int
    name: str
    gain: float | None
    reason: str
    uncertainty: float | None = None
    disagreement: float | None = None
    distance: float | None = None


@dataclass(frozen=True)
class Candidates:
    """The question: what is at hand.

    Attributes:
        vlsm: The frozen model; an ``EncodedOnce`` keeps its work for the next question.
        packs: Checkpoints by name, the champion first; ``ZERO_SHOT`` is one, too.
        images: The unlabelled images.
        phrases: What to ask each of them for, at least one phrase per image.
        labelled: The labelled images.
        threshold: Probability above which a pixel belongs to the mask.
        device: Where the model is.
    """

    vlsm: FrozenVLSM
    packs: Mapping[str, PromptPack]
    images: ImageSet
    phrases: Sequence[Sequence[str]]
    labelled: ImageSet
    threshold: float = THRESHOLD
    device: torch.device = CPU

    def check(self, order: str) -> None:
        """Raise an error for what the order cannot be made of.

        Raises:
            UnknownNameError: There is no such order.
            BadInputError: Phrases are missing, or checkpoints are.
            MismatchError: A checkpoint is of another base model.
        """
        if order not in ORDERS:
            raise UnknownNameError(f"no order {order!r}; there are {', '.join(ORDERS)}")
        if order in OF_MASKS:
            self._check_asked()
            self._check_packs(order)

    def _check_asked(self) -> None:
        check_threshold(self.threshold)
        names = self.images.names
        if len(self.phrases) != len(names):
            raise BadInputError(f"{len(names)} images need as many lists of phrases, not {len(self.phrases)}")
        for name, texts in zip(names, self.phrases, strict=True):
            if not texts or not all(text.strip() for text in texts):
                raise BadInputError(f"{name} has no phrase, or an empty one; give each image at least one")

    def _check_packs(self, order: str) -> None:
        least = 2 if order == DISAGREEMENT else 1
        if len(self.packs) < least:
            raise BadInputError(
                f"order {order!r} asks at least {least} checkpoints, but there are {len(self.packs)}; "
                f"{DISTANCE}, {RANDOM} and {AS_IS} ask none"
            )
        for pack in self.packs.values():
            pack.check_fits(self.vlsm.spec)

    @property
    def champion(self) -> str:
        """The first checkpoint's name."""
        return next(iter(self.packs))

    @cached_property
    def opinions(self) -> list[Opinion]:
        """What the checkpoints say of each image."""
        return opinions(
            self.vlsm,
            self.packs,
            self.images,
            self.phrases,
            threshold=self.threshold,
            device=self.device,
        )

    @cached_property
    def features(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Pooled features of the unlabelled images [N, w] and of the labelled ones [M, w]."""
        unlabelled, labelled = (
            pooled_features(self.vlsm, images, device=self.device) for images in (self.images, self.labelled)
        )
        return unlabelled, labelled

    def farthest(self, limit: int | None, weights: Sequence[float] | None = None) -> list[Pick]:
        """The images by distance times weight."""
        unlabelled, labelled = self.features
        return farthest_first(
            unlabelled, labelled, weights=None if weights is None else np.asarray(weights), limit=limit
        )

    def distance_words(self, pick: Pick) -> str:
        """A pick's distance in words."""
        return nearest_words(pick.nearest, self.labelled.names, self.images.names)


def suggest(
    candidates: Candidates, order: str = COMBINED, *, limit: int | None = None, seed: int = 0
) -> list[Suggestion]:
    """Order unlabelled images.

    - ``uncertainty``: the Dice that the champion's mask can expect, least first.
    - ``disagreement``: Dice between the champion's mask and another checkpoint's, least first.
    - ``distance``: unlike what is labelled and what comes earlier, most unlike first (greedy k-center).
    - ``combined``: mean of uncertainty and disagreement, times distance; greedy, so that
      images like one another do not follow each other. With one checkpoint, uncertainty times distance.
    - ``random`` and ``as-is``.

    The same question has the same answer; of equals, what is given first comes first.

    Args:
        candidates: What is at hand.
        order: One of the above.
        limit: How many to suggest; None orders all.
        seed: Of ``random``.

    Raises:
        StudioError: See :meth:`Candidates.check`; or an image cannot be read.
    """
    candidates.check(order)
    return _MAKERS[order](candidates, limit, seed)


def _uncertain(given: Candidates, limit: int | None, _seed: int) -> list[Suggestion]:
    doubts = [opinion.doubt for opinion in given.opinions]
    gains = [1 - doubt.expected_dice for doubt in doubts]
    return [
        Suggestion(i, given.images.names[i], gains[i], doubt_words(doubts[i]), uncertainty=gains[i])
        for i in largest_first(gains)[:limit]
    ]


def _disagreed(given: Candidates, limit: int | None, _seed: int) -> list[Suggestion]:
    dissents = [opinion.dissent for opinion in given.opinions if opinion.dissent is not None]
    gains = [1 - dissent.dice for dissent in dissents]
    words = [dissent_words(given.champion, dissent) for dissent in dissents]
    return [
        Suggestion(i, given.images.names[i], gains[i], words[i], disagreement=gains[i])
        for i in largest_first(gains)[:limit]
    ]


def _distant(given: Candidates, limit: int | None, _seed: int) -> list[Suggestion]:
    return [
        Suggestion(
            pick.index,
            given.images.names[pick.index],
            pick.gain,
            given.distance_words(pick),
            distance=_distance(pick),
        )
        for pick in given.farthest(limit)
    ]


def _combined(given: Candidates, limit: int | None, _seed: int) -> list[Suggestion]:
    found = []
    for pick in given.farthest(limit, [_worth(opinion) for opinion in given.opinions]):
        opinion = given.opinions[pick.index]
        words = [doubt_words(opinion.doubt)]
        if opinion.dissent is not None:
            words.append(dissent_words(given.champion, opinion.dissent))
        words.append(given.distance_words(pick))
        found.append(
            Suggestion(
                pick.index,
                given.images.names[pick.index],
                pick.gain,
                "; ".join(words),
                uncertainty=1 - opinion.doubt.expected_dice,
                disagreement=None if opinion.dissent is None else 1 - opinion.dissent.dice,
                distance=_distance(pick),
            )
        )
    return found


def _worth(opinion: Opinion) -> float:
    """Mean of uncertainty and disagreement, both in units of Dice."""
    worth = [1 - opinion.doubt.expected_dice]
    if opinion.dissent is not None:
        worth.append(1 - opinion.dissent.dice)
    return sum(worth) / len(worth)


def _random(given: Candidates, limit: int | None, seed: int) -> list[Suggestion]:
    names = given.images.names
    drawn = shuffled(len(names), seed)[:limit]
    return [Suggestion(i, names[i], None, random_words(at, seed)) for at, i in enumerate(drawn, start=1)]


def _as_is(given: Candidates, limit: int | None, _seed: int) -> list[Suggestion]:
    names = given.images.names[:limit]
    return [Suggestion(i, name, None, as_is_words(i + 1)) for i, name in enumerate(names)]


def _distance(pick: Pick) -> float | None:
    return None if pick.nearest is None else pick.nearest.distance


_MAKERS: dict[str, Callable[[Candidates, int | None, int], list[Suggestion]]] = {
    COMBINED: _combined,
    UNCERTAINTY: _uncertain,
    DISAGREEMENT: _disagreed,
    DISTANCE: _distant,
    RANDOM: _random,
    AS_IS: _as_is,
}
