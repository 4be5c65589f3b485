"""One labelled image: its file, its truth, its phrases."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models_store.errors import UnknownNameError
from trainer.data.phrases import Prompts
from trainer.data.pictures import read_image
from trainer.data.truths import Truth


@dataclass(frozen=True)
class LabelledImage:
    """One image with its mask and phrases; pixels are read when asked for.

    In a dataset of several classes there is one of these per image and class that is in it.

    Attributes:
        name: What reports call it.
        image_path: The image's file.
        truth: Where its mask is.
        prompts: Texts by key.
        label: What the annotation says of the image as a whole (such as ``benign``); the
            model never sees it.
        class_name: The class asked for, where a dataset has several.
        group: What its image belongs to, such as a patient; images of a group are never parted.
    """

    name: str
    image_path: Path
    truth: Truth
    prompts: Prompts
    label: str | None = None
    class_name: str | None = None
    group: str | None = None

    @property
    def mask_path(self) -> Path:
        """The file the truth is in."""
        return self.truth.path

    def image(self) -> NDArray[np.uint8]:
        """The image as RGB [H, W, 3] uint8, upright, as the server reads it."""
        return read_image(self.image_path)

    def mask(self) -> NDArray[np.bool_]:
        """The mask [H, W], true where the class is."""
        return self.truth.read().mask

    def phrases(self, key: str) -> list[str]:
        """The texts under one prompt key such as ``p1``; a missing key is an error."""
        if key not in self.prompts:
            raise UnknownNameError(
                f"{self.name} has no prompt {key!r}; it has {', '.join(sorted(self.prompts)) or 'none'}"
            )
        texts = self.prompts[key]
        return [texts] if isinstance(texts, str) else list(texts)
