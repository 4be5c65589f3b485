"""Helpers of the engine's tests: a model that can be held, and events that can be waited for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from models_store.mixed.prompts import MixedPrompts
from models_store.vlsm import FrozenVLSM, ImageFeatures, TextFeatures, Tokens

SECONDS = 120.0


def picture(seed: int, height: int = 40, width: int = 60) -> NDArray[np.uint8]:
    """Random pixels."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


class Watched:
    """The frozen model: its text tower can be held, and everything it is asked for is noted."""

    def __init__(self, vlsm: FrozenVLSM, *, held: bool = False):
        self._vlsm = vlsm
        self.entered, self.released = threading.Event(), threading.Event()
        self.images: list[int] = []
        self.phrases: list[str] = []
        if not held:
            self.released.set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._vlsm, name)

    def encode_image(
        self, pixels: Tensor, visual_prompts: Tensor | MixedPrompts | None = None, *, pooled: bool = False
    ) -> ImageFeatures:
        self.images.append(len(pixels))
        return self._vlsm.encode_image(pixels, visual_prompts, pooled=pooled)  # type: ignore[arg-type]

    def tokenize(self, phrases: list[str], prompt_tokens: int = 0) -> Tokens:
        self.phrases += phrases
        self.entered.set()
        assert self.released.wait(timeout=SECONDS)
        if "impossible" in phrases:
            raise RuntimeError("this phrase cannot be encoded")
        return self._vlsm.tokenize(phrases, prompt_tokens)

    def encode_text(self, tokens: Tokens, text_prompts: Tensor | MixedPrompts | None = None) -> TextFeatures:
        return self._vlsm.encode_text(tokens, text_prompts)  # type: ignore[arg-type]


class Recorder:
    """Events of an engine, to look at and to wait for."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.batches: list[tuple[int, int]] = []
        self.steps: list[str] = []
        self.lookups: list[tuple[str, bool]] = []
        self.sizes: dict[str, tuple[int, int]] = {}
        self.swaps: list[float] = []
        self.damages = 0
        self.length = 0
        self.refusals: list[str] = []

    def _note(self, change: Callable[[], object]) -> None:
        with self.changed:
            change()
            self.changed.notify_all()

    def batch(self, rows: int, checkpoints: int) -> None:
        self._note(lambda: self.batches.append((rows, checkpoints)))

    def step(self, name: str, seconds: float) -> None:
        self._note(lambda: self.steps.append(name))

    def cache(self, kind: str, hit: bool) -> None:
        self._note(lambda: self.lookups.append((kind, hit)))

    def held(self, kind: str, entries: int, size: int) -> None:
        self._note(lambda: self.sizes.update({kind: (entries, size)}))

    def swap(self, seconds: float) -> None:
        self._note(lambda: self.swaps.append(seconds))

    def damaged(self) -> None:
        self.damages += 1

    def queue(self, length: int) -> None:
        self._note(lambda: setattr(self, "length", length))

    def refused(self, reason: str) -> None:
        self._note(lambda: self.refusals.append(reason))

    def wait_for(self, true: Callable[[], bool]) -> None:
        """Wait until something holds."""
        with self.changed:
            assert self.changed.wait_for(true, timeout=SECONDS)
