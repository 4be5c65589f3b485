"""One dataset laid out for simulation: images to label, images to measure on, and how to tune."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from models_store.errors import BadInputError
from models_store.packs import PromptPack
from models_store.vlsm import FrozenVLSM
from trainer.acquisition.encoded_once import EncodedOnce
from trainer.acquisition.images import HeldImages
from trainer.acquisition.simulation.plan import Protocol
from trainer.acquisition.suggest import Candidates
from trainer.data.dataset import open_dataset
from trainer.data.examples import Counted, Examples, examples_digest, load_examples
from trainer.data.items import LabelledImage
from trainer.encoded import RememberedImages
from trainer.evaluate import evaluate_examples
from trainer.feature_cache import NO_CACHE, CacheBudget
from trainer.scores import Evaluation
from trainer.tuning.devices import fabric_on
from trainer.tuning.holdout import split_holdout
from trainer.tuning.learners import build_learner
from trainer.tuning.loop import TuningRun
from trainer.tuning.parameters import check_frozen

# The checkpoints at hand when an order is asked: the present one, and the one before it.
NOW, BEFORE = "the present checkpoint", "the one before"


@dataclass(frozen=True)
class Bench:
    """A dataset in memory.

    Attributes:
        vlsm: The frozen model; every image is encoded once.
        pool: Images to label, with their truth.
        val: Images to measure on.
        kept: Features of ``val``.
        protocol: What is the same for every run.
        device: Where the model is.
        digest: SHA-256 of pool and val.
    """

    vlsm: EncodedOnce
    pool: Examples
    val: Examples
    kept: RememberedImages
    protocol: Protocol
    device: torch.device
    digest: str

    @property
    def images(self) -> int:
        """How many images there are to label."""
        return len(self.pool.images.distinct)

    @property
    def pool_images(self) -> HeldImages:
        """The images there are to label."""
        return self._held(range(self.images))

    def tuned(self, labels: Sequence[int], seed: int) -> PromptPack:
        """A checkpoint tuned on some images, of which a part is held out to choose the epoch.

        Args:
            labels: Images of the pool, in the order they were labelled.
            seed: Of the run.
        """
        settings = self.protocol.settings(seed)
        learner, _ = build_learner(settings, self.vlsm)
        groups = [self._groups[image] for image in labels]
        training, held = split_holdout(len(labels), seed, groups=groups)
        with tempfile.TemporaryDirectory() as folder:
            run = TuningRun.of(
                settings,
                vlsm=self.vlsm,
                learner=learner,
                train=self._examples([labels[at] for at in training]),
                select=self._examples([labels[at] for at in held]),
                folder=Path(folder),
                cache=NO_CACHE,
                fabric=fabric_on(self.device),
            )
            run.run()
        return learner.fold()

    def measured(self, pack: PromptPack) -> Evaluation:
        """A checkpoint on ``val``."""
        return evaluate_examples(
            self.vlsm,
            pack,
            self.val,
            device=self.device,
            threshold=self.protocol.threshold,
            images=self.kept,
        )

    def candidates(self, labels: Sequence[int], *, now: PromptPack, before: PromptPack) -> Candidates:
        """The question what to label next.

        Args:
            labels: What is labelled.
            now: The checkpoint tuned on these labels.
            before: The checkpoint before it.
        """
        left = self.left(labels)
        return Candidates(
            vlsm=self.vlsm,
            packs={NOW: now, BEFORE: before},
            images=self._held(left),
            phrases=[self._phrases(image) for image in left],
            labelled=self._held(labels),
            threshold=self.protocol.threshold,
            device=self.device,
        )

    def left(self, labels: Sequence[int]) -> list[int]:
        """The images of the pool that are not labelled."""
        taken = set(labels)
        return [image for image in range(self.images) if image not in taken]

    def start(self, count: int, seed: int) -> list[int]:
        """The images that are labelled first."""
        return np.random.default_rng([seed, 4]).permutation(self.images)[:count].tolist()

    def name(self, image: int) -> str:
        """What an image of the pool is called."""
        return self.pool.items[self._rows[image][0]].name

    @cached_property
    def _rows(self) -> list[list[int]]:
        return self.pool.rows_by_image()

    @cached_property
    def _groups(self) -> list[str | None]:
        return self.pool.image_groups()

    def _examples(self, images: Sequence[int]) -> Examples:
        return self.pool.select([row for image in images for row in self._rows[image]])

    def _phrases(self, image: int) -> list[str]:
        return sorted({self.pool.phrases[row][0] for row in self._rows[image]})

    def _held(self, images: Sequence[int]) -> HeldImages:
        return HeldImages([self.name(i) for i in images], self.pool.images.distinct[list(images)])


def load_bench(
    folder: Path,
    vlsm: FrozenVLSM,
    protocol: Protocol,
    *,
    device: torch.device,
    budget: CacheBudget,
    progress: Counted | None = None,
) -> Bench:
    """Read a dataset folder's pool and measured images.

    Args:
        folder: A folder of any accepted layout with the splits ``train`` and ``val``.
        vlsm: The frozen model, on ``device``.
        protocol: What is the same for every run.
        device: Where the model is.
        budget: How much to keep of encoded images.
        progress: Told how many images are read.

    Raises:
        StudioError: The folder cannot be used, or has fewer images than the protocol asks for.
    """
    check_frozen(vlsm)
    dataset = open_dataset(folder, prompt_key=protocol.prompt_key)
    pool, val = (
        load_examples(
            _drawn(list(dataset.items(split)), count, protocol.draw_seed, f"{folder.name} {split}"),
            vlsm.spec,
            prompt_key=protocol.prompt_key,
            progress=progress,
        )
        for split, count in (("train", protocol.pool), ("val", protocol.val))
    )
    once = EncodedOnce(vlsm, budget=budget)
    kept = RememberedImages(vlsm, val, device, budget=budget)
    digest = examples_digest(pool) + examples_digest(val)
    return Bench(once, pool, val, kept, protocol, device, digest)


def _drawn(items: list[LabelledImage], count: int, seed: int, what: str) -> list[LabelledImage]:
    """All items of so many images, drawn by the seed."""
    images = list(dict.fromkeys(item.image_path for item in items))
    if count > len(images):
        raise BadInputError(f"{what} has {len(images)} images, fewer than the {count} asked for")
    chosen = {images[i] for i in np.random.default_rng([seed, 6]).permutation(len(images))[:count]}
    return [item for item in items if item.image_path in chosen]
