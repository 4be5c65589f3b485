"""Batches of the pretraining recipe, each a pure function of (seed, step)."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.data.folder import read_split
from trainer.pretrain.augment import augment
from trainer.pretrain.recipe import DatasetRow, Recipe
from trainer.pretrain.scenes import draw_scene

# Words that tell no two datasets apart.
STOP_WORDS = frozenset("a an the of in on and or with image images".split())


@dataclass(frozen=True)
class Corpus:
    """One dataset in memory."""

    row: DatasetRow
    images: list[NDArray[np.uint8]]
    masks: list[NDArray[np.bool_]]
    phrases: list[list[str]]


@dataclass(frozen=True)
class Batch:
    """pixels [B, S, S, 3] uint8, target [B, S, S] in 0..1, one phrase per row."""

    pixels: Tensor
    target: Tensor
    phrases: list[str]


def load_corpora(recipe: Recipe, data: Path) -> list[Corpus]:
    """Read the training split of every dataset of the recipe into memory."""
    corpora = []
    for row in recipe.datasets:
        items = read_split(data / row.folder, "train")
        own = [
            [text for key in item.prompts for text in item.phrases(key) if text] + list(row.phrases)
            for item in items
        ]
        corpora.append(Corpus(row, [i.image() for i in items], [i.mask() for i in items], own))
    return corpora


def content_words(phrase: str) -> set[str]:
    """The words of a phrase that carry meaning, singular and lower case."""
    return {w.rstrip("s") for w in phrase.lower().replace("-", " ").split()} - STOP_WORDS


def absent_phrases(own: list[str], others: list[str]) -> list[str]:
    """Those phrases of other datasets that share no content word with an image's own."""
    words = set().union(*map(content_words, own))
    return [phrase for phrase in others if not content_words(phrase) & words]


class BatchSource:
    """Draws batches; step k gives the same batch whenever and wherever it is asked for.

    Args:
        recipe: The recipe.
        corpora: Its datasets in memory.
    """

    def __init__(self, recipe: Recipe, corpora: list[Corpus]):
        self.recipe = recipe
        self.corpora = corpora
        weights = np.array([c.row.weight for c in corpora])
        self._weights = weights / weights.sum()
        self._absent = []
        for corpus in corpora:
            own = sorted(set().union(*corpus.phrases))
            others = sorted({p for c in corpora if c is not corpus for p in set().union(*c.phrases)})
            self._absent.append(absent_phrases(own, others))

    def side(self, step: int) -> int:
        """Side of the training square at a step."""
        schedule = self.recipe.schedule
        sizes = schedule.decay_sizes if step >= schedule.decay_start else schedule.sizes
        return sizes[int(np.random.default_rng([self.recipe.seed, step]).integers(len(sizes)))]

    def batch(self, step: int) -> Batch:
        """The batch of a step."""
        schedule = self.recipe.schedule
        side = self.side(step)
        rows = schedule.decay_batch if step >= schedule.decay_start else schedule.batch
        rng = np.random.default_rng([self.recipe.seed, step, 1])
        drawn = [self._draw(rng, side) for _ in range(rows)]
        return Batch(
            torch.from_numpy(np.stack([d[0] for d in drawn])),
            torch.from_numpy(np.stack([d[1] for d in drawn])),
            [d[2] for d in drawn],
        )

    def _draw(
        self, rng: np.random.Generator, side: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32], str]:
        mix = self.recipe.mix
        kind = rng.choice(len(mix), p=np.array(list(mix.values())) / sum(mix.values()))
        if list(mix)[kind] == "scenes":
            return draw_scene(rng, side)
        which = int(rng.choice(len(self.corpora), p=self._weights))
        corpus = self.corpora[which]
        index = int(rng.integers(len(corpus.images)))
        image, mask = augment(rng, corpus.images[index], corpus.masks[index], side, corpus.row)
        if list(mix)[kind] == "present":
            return image, mask, str(rng.choice(corpus.phrases[index]))
        others = self._absent[which] if rng.random() < 0.6 else list(self.recipe.absent_train)
        return image, np.zeros_like(mask), str(rng.choice(others))

    def stream(self, first: int, last: int) -> Iterator[tuple[int, Batch]]:
        """Batches of steps first..last-1, the next one prepared while one is used."""
        with ThreadPoolExecutor(1) as pool:
            coming = pool.submit(self.batch, first) if first < last else None
            for step in range(first, last):
                assert coming is not None
                batch = coming.result()
                coming = pool.submit(self.batch, step + 1) if step + 1 < last else None
                yield step, batch
