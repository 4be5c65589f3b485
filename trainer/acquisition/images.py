"""Sets of named images at the model's size, in memory or read from files when asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from models_store.vlsm import VLSMSpec
from trainer.data.examples import resize_image
from trainer.data.pictures import read_image


class ImageSet(Protocol):
    """Named images."""

    @property
    def names(self) -> Sequence[str]:
        """What explanations call them."""

    def read(self, at: Sequence[int]) -> Tensor:
        """The images at some indices, [B, S, S, 3] uint8, squashed to the model's square.

        Raises:
            BadInputError: A file cannot be read as an image.
        """


@dataclass(frozen=True)
class HeldImages:
    """Images in memory.

    Attributes:
        names: One per image.
        pixels: [N, S, S, 3] uint8.
    """

    names: Sequence[str]
    pixels: Tensor

    def read(self, at: Sequence[int]) -> Tensor:
        return self.pixels[torch.tensor(at, dtype=torch.long)]


@dataclass(frozen=True)
class ImageFiles:
    """Image files, each read whenever it is asked for.

    Attributes:
        names: One per file.
        paths: The files.
        spec: Sizes of the model that will see them.
    """

    names: Sequence[str]
    paths: Sequence[Path]
    spec: VLSMSpec

    def read(self, at: Sequence[int]) -> Tensor:
        return torch.stack([resize_image(read_image(self.paths[index]), self.spec) for index in at])
