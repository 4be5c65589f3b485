"""The engine: one frozen model, many packs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models_store.packs import ZERO_SHOT, decode_pack, encode_phrases
from models_store.preprocess import to_image_size, to_pixels
from models_store.registry import CHAMPION, Reference, Registry
from models_store.vlsm import FrozenVLSM
from server.errors import NoChampionError, UnknownDatasetError
from server.inputs import dataset_of
from server.engine.checkpoints import PackCache, ServedCheckpoint

DEFAULT_THRESHOLD = 0.5
KEPT_PACKS = 64


class Clock:
    """Milliseconds of named steps, one after another."""

    def __init__(self) -> None:
        self.steps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """Book the time since the last lap (or the start) to a step."""
        now = time.perf_counter()
        self.steps[name] = self.steps.get(name, 0.0) + (now - self._last) * 1000
        self._last = now


@dataclass(frozen=True)
class Segmentation:
    """What the model made of one image and its phrases.

    Attributes:
        phrases: The P phrases.
        logits: [P, 1, S, S] at the model's size. Maps at the image's own size are made one at
            a time, since several of a large image would fill the memory.
        height, width: The image's own size.
        checkpoint: The one used; None means zero-shot.
        timings_ms: Steps ``prepare``, ``image``, ``text`` and ``mask``.
    """

    phrases: list[str]
    logits: Tensor
    height: int
    width: int
    checkpoint: ServedCheckpoint | None
    timings_ms: dict[str, float]

    @property
    def threshold(self) -> float:
        """Where the checkpoint wants probabilities cut."""
        return DEFAULT_THRESHOLD if self.checkpoint is None else self.checkpoint.threshold

    def probability(self, index: int) -> NDArray[np.float32]:
        """Probability map [height, width] of one phrase, at the image's own size."""
        resized = to_image_size(self.logits[index : index + 1], self.height, self.width)
        return np.asarray(resized[0].numpy(), dtype=np.float32)


class Engine:
    """Segments images; safe to call from many threads.

    Args:
        vlsm: The frozen model.
        registry: Its checkpoints.
        device: Where the model is.
        kept_packs: How many checkpoints stay in memory.
    """

    def __init__(
        self, *, vlsm: FrozenVLSM, registry: Registry, device: str = "cpu", kept_packs: int = KEPT_PACKS
    ):
        self.vlsm = vlsm
        self.registry = registry
        self.device = device
        self.packs = PackCache(registry=registry, spec=vlsm.spec, device=device, size=kept_packs)
        # One forward at a time: torch uses all threads for it, and two would take twice the memory.
        self._forward = Lock()

    def resolve(self, text: str) -> Reference:
        """What ``dataset``, ``dataset@alias`` or ``dataset/version`` means at this moment.

        Raises:
            UnknownDatasetError, NoChampionError, UnknownNameError: It means nothing.
            BadInputError: It is none of the three.
        """
        dataset = dataset_of(text)
        have = self.registry.datasets()
        if dataset and dataset not in have:
            raise UnknownDatasetError(
                f"no dataset {dataset!r}; there are: {', '.join(have[:20]) or 'none yet'}"
            )
        if text == dataset and CHAMPION not in self.registry.aliases(dataset):
            versions = self.registry.versions(dataset)
            raise NoChampionError(
                f"dataset {dataset!r} has no champion; name a version such as {dataset}/{versions[-1]}, "
                "or leave dataset out for zero-shot"
            )
        return self.registry.resolve(text)

    def segment(
        self, image: NDArray[np.uint8], phrases: list[str], reference: str | None = None
    ) -> Segmentation:
        """Segment an image under one or more phrases.

        The reference is resolved once, so that everything in an answer is of one version even
        while its alias moves.

        Args:
            image: RGB [H, W, 3].
            phrases: One or more; the image is encoded once for all of them.
            reference: ``dataset``, ``dataset@alias`` or ``dataset/version``; None means zero-shot.

        Raises:
            StudioError: The reference means nothing that can be served; see :meth:`resolve` and
                :meth:`PackCache.get`.
        """
        checkpoint = None if reference is None else self.packs.get(self.resolve(reference))
        clock = Clock()
        pixels = to_pixels(image, self.vlsm.spec)[None]
        clock.lap("prepare")
        with self._forward:
            # Waiting for one's turn is nobody's step; it shows in the total.
            waited = Clock()
            logits = self._logits(pixels, phrases, checkpoint, waited)
        return Segmentation(
            phrases=phrases,
            logits=logits,
            height=image.shape[0],
            width=image.shape[1],
            checkpoint=checkpoint,
            timings_ms=clock.steps | waited.steps,
        )

    @torch.inference_mode()
    def _logits(
        self, pixels: Tensor, phrases: list[str], checkpoint: ServedCheckpoint | None, clock: Clock
    ) -> Tensor:
        pack = ZERO_SHOT if checkpoint is None else checkpoint.pack
        image = self.vlsm.encode_image(pixels.to(self.device), pack.visual, pooled=pack.needs_pooled)
        self._finish()
        clock.lap("image")
        image = image.expand(len(phrases))
        text = encode_phrases(self.vlsm, pack, self.vlsm.tokenize(phrases, pack.text_tokens), image)
        self._finish()
        clock.lap("text")
        here = decode_pack(self.vlsm, pack, image, text).float().cpu()
        clock.lap("mask")
        return here

    def _finish(self) -> None:
        """Wait for the device, so that each step's time is its own."""
        if self.device.startswith("cuda"):
            torch.cuda.synchronize(self.device)
