"""Views: the augmented variants of each image that epochs go round in.

View v of an image depends on nothing but (seed, image, v), so whatever was computed from it may be
kept, thrown away or computed again without changing a run.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models_store.vlsm import VLSMSpec
from trainer.augment import Augmentation
from trainer.data.examples import Examples, normalise, unit_scale

PLAIN = -1


class ViewKey(NamedTuple):
    """A view of a distinct image; number ``PLAIN`` is the image as it is."""

    image: int
    number: int


class Views:
    """Pixels and masks of views, on the processor.

    Args:
        examples: The rows and their images.
        spec: The model's normalisation.
        seed: Seed of the augmentation.
        augmentation: How to vary images; None leaves one view, the image itself.
        count: Number of views; 0 never repeats one.
    """

    def __init__(
        self,
        examples: Examples,
        spec: VLSMSpec,
        *,
        seed: int = 0,
        augmentation: Augmentation | None = None,
        count: int = 1,
    ):
        self._examples, self._spec, self._seed = examples, spec, seed
        self._augmentation, self._count = augmentation, count
        self._images = examples.images.at.tolist()
        self._unchanged: dict[ViewKey, bool] = {}
        self._masks: dict[tuple[int, ViewKey], NDArray[np.uint8]] = {}
        self._drawn: dict[ViewKey, Tensor] = {}

    def key(self, row: int, turn: int) -> ViewKey:
        """The view of a row in its ``turn``-th showing; views that augmentation left alone are one."""
        image = self._images[row]
        if self._augmentation is None:
            return ViewKey(image, PLAIN)
        key = ViewKey(image, turn % self._count if self._count else turn)
        if key not in self._unchanged:
            self._unchanged[key] = self._draw(row, key)
        return ViewKey(image, PLAIN) if self._unchanged[key] else key

    def pixels(self, key: ViewKey) -> Tensor:
        """Normalised pixels [1, 3, S, S] of a view."""
        if key.number == PLAIN:
            return normalise(self._image(key.image), self._spec)
        drawn = self._drawn.get(key)
        if drawn is None:
            drawn = self._augment(key, torch.zeros(1, 1, *self._examples.masks.shape[1:]))[0]
        return normalise(drawn, self._spec)

    def masks(self, row: int, key: ViewKey) -> Tensor:
        """Mask and left-out pixels [2, S, S] bool of a row under a view."""
        if key.number == PLAIN:
            return self._row_masks(row)
        side = self._examples.masks.shape[1]
        packed = self._masks.get((row, key))
        if packed is None:
            self._draw(row, key)
            packed = self._masks[row, key]
        return torch.from_numpy(np.unpackbits(packed, count=2 * side * side).reshape(2, side, side)).bool()

    def forget_drawn(self) -> None:
        """Let go of drawn pixels, and of the masks of views that will not come again."""
        self._drawn.clear()
        if not self._count:
            self._masks.clear()
            self._unchanged.clear()

    def _image(self, image: int) -> Tensor:
        return unit_scale(self._examples.images.distinct[image : image + 1], torch.device("cpu"))

    def _row_masks(self, row: int) -> Tensor:
        mask, ignore = self._examples.masks[[row]], self._examples.ignore
        return torch.cat([mask, torch.zeros_like(mask) if ignore is None else ignore[[row]]])

    def _augment(self, key: ViewKey, masks: Tensor) -> tuple[Tensor, Tensor]:
        if self._augmentation is None:
            raise RuntimeError("there is no augmentation to draw a view with")
        return self._augmentation(self._image(key.image), masks, seed=(self._seed, *key))

    def _draw(self, row: int, key: ViewKey) -> bool:
        """Draw a view, keeping its masks for good and its pixels for the moment; true if unchanged."""
        masks = self._row_masks(row)
        pixels, moved = self._augment(key, masks[None].float())
        self._masks[row, key] = np.packbits(moved[0].bool().numpy())
        self._drawn[key] = pixels
        return torch.equal(pixels, self._image(key.image)) and torch.equal(moved[0].bool(), masks)
