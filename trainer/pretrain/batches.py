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
from trainer.pretrain.moles import draw_mole
from trainer.pretrain.recipe import DatasetRow, Recipe
from trainer.pretrain.scenes import draw_scene, draw_scene_questions

Question = tuple[str, NDArray[np.float32]]
Asked = tuple[NDArray[np.uint8], list[Question]]

# Words that tell no two datasets apart.
STOP_WORDS = frozenset({"a", "an", "the", "of", "in", "on", "and", "or", "with", "image", "images"})


@dataclass(frozen=True)
class Corpus:
    """One dataset in memory; ``kept`` are the indices of the images that are not left out."""

    row: DatasetRow
    images: list[NDArray[np.uint8]]
    masks: list[NDArray[np.bool_]]
    phrases: list[list[str]]
    kept: list[int]


@dataclass(frozen=True)
class Batch:
    """Images and what they are asked for.

    Attributes:
        pixels: [B, S, S, 3] uint8.
        rows: [R], the image each question is about; an image may be asked more than once.
        target: [R, S, S] in 0..1.
        phrases: R phrases.
    """

    pixels: Tensor
    rows: Tensor
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
        kept = [k for k, item in enumerate(items) if item.name not in row.leave_out]
        corpora.append(Corpus(row, [i.image() for i in items], [i.mask() for i in items], own, kept))
    return corpora


def content_words(phrase: str) -> set[str]:
    """The words of a phrase that carry meaning, singular and lower case."""
    return {w.rstrip("s") for w in phrase.lower().replace("-", " ").split()} - STOP_WORDS


def absent_phrases(own: list[str], others: list[str]) -> list[str]:
    """Those phrases of other datasets that share no content word with an image's own."""
    words = set().union(*map(content_words, own))
    return [phrase for phrase in others if not content_words(phrase) & words]


def shares(weights: list[float]) -> NDArray[np.float64]:
    """Weights as shares of one."""
    return np.array(weights) / sum(weights)


class BatchSource:
    """Draws batches; step k gives the same batch whenever and wherever it is asked for.

    Args:
        recipe: The recipe.
        corpora: Its datasets in memory.
    """

    def __init__(self, recipe: Recipe, corpora: list[Corpus]):
        self.recipe = recipe
        self.corpora = corpora
        rows = [c.row for c in corpora]
        self._weights = shares([row.weight for row in rows])
        self._polish_weights = shares([row.polish_weight or row.weight for row in rows])
        folders = [c.row.folder for c in corpora]
        self._lookalike = folders.index(recipe.lookalike_folder)
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
        lookalikes = self.recipe.lookalike_share if step >= schedule.lookalikes_from else 0.0
        curated = step >= schedule.curated_from
        weights = self._polish_weights if step >= schedule.steps else self._weights
        drawn = [
            self._ask_twice(rng, side, weights, lookalikes, curated)
            if step >= schedule.pairs_from
            else self._ask_once(rng, side, weights)
            for _ in range(rows)
        ]
        return Batch(
            torch.from_numpy(np.stack([image for image, _ in drawn])),
            torch.tensor([i for i, (_, questions) in enumerate(drawn) for _ in questions]),
            torch.from_numpy(np.stack([mask for _, questions in drawn for _, mask in questions])),
            [phrase for _, questions in drawn for phrase, _ in questions],
        )

    def _ask_once(self, rng: np.random.Generator, side: int, weights: NDArray[np.float64]) -> Asked:
        mix = self.recipe.mix
        kind = list(mix)[rng.choice(len(mix), p=np.array(list(mix.values())) / sum(mix.values()))]
        if kind == "scenes":
            image, mask, phrase = draw_scene(rng, side)
            return image, [(phrase, mask)]
        which, index, image, mask = self._real(rng, side, weights)
        if kind == "present":
            return image, [(str(rng.choice(self.corpora[which].phrases[index])), mask)]
        return image, [self._absent_question(rng, which, mask)]

    def _ask_twice(
        self,
        rng: np.random.Generator,
        side: int,
        weights: NDArray[np.float64],
        lookalikes: float,
        curated: bool,
    ) -> Asked:
        kind, scenes = rng.random(), self.recipe.mix["scenes"]
        if kind < scenes:
            image, questions = draw_scene_questions(rng, side, 2)
            return image, questions
        if kind < scenes + lookalikes:
            which, index = self._lookalike, 0
            image, mask = draw_mole(rng, side)
        else:
            which, index, image, mask = self._real(rng, side, weights, curated)
        own = (str(rng.choice(self.corpora[which].phrases[index])), mask)
        return image, [own, self._absent_question(rng, which, mask)]

    def _real(
        self, rng: np.random.Generator, side: int, weights: NDArray[np.float64], curated: bool = False
    ) -> tuple[int, int, NDArray[np.uint8], NDArray[np.float32]]:
        which = int(rng.choice(len(self.corpora), p=weights))
        corpus = self.corpora[which]
        choices = corpus.kept if curated else range(len(corpus.images))
        index = choices[int(rng.integers(len(choices)))]
        image, mask = augment(rng, corpus.images[index], corpus.masks[index], side, corpus.row)
        return which, index, image, mask

    def _absent_question(self, rng: np.random.Generator, which: int, mask: NDArray[np.float32]) -> Question:
        others = self._absent[which] if rng.random() < 0.6 else list(self.recipe.absent_train)
        return str(rng.choice(others)), np.zeros_like(mask)

    def stream(self, first: int, last: int) -> Iterator[tuple[int, Batch]]:
        """Batches of steps first..last-1, the next one prepared while one is used."""
        with ThreadPoolExecutor(1) as pool:
            coming = pool.submit(self.batch, first)
            for step in range(first, last):
                batch = coming.result()
                coming = pool.submit(self.batch, step + 1)
                yield step, batch
