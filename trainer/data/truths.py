"""Where the truth of an image lies, and how it is read.

A truth is a mask [H, W] and, for some formats, pixels that nobody has labelled: those are
left out of loss and figures.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models_store.digests import file_digest
from models_store.errors import BadInputError
from trainer.data.masks import read_mask
from trainer.data.pictures import picture_size, read_picture
from trainer.data.shapes import draw_shapes


@dataclass(frozen=True)
class Marked:
    """A mask [H, W], true where the class is, and the pixels nobody labelled [H, W] or None.

    No pixel is both.
    """

    mask: NDArray[np.bool_]
    ignored: NDArray[np.bool_] | None = None


class Truth(Protocol):
    """The truth of one image and class, read when asked for."""

    @property
    def path(self) -> Path:
        """The file it is in."""

    def read(self) -> Marked:
        """Read it.

        Raises:
            BadInputError: It cannot be read.
        """

    def size(self) -> tuple[int, int]:
        """Width and height without reading the pixels.

        Raises:
            BadInputError: It cannot be read.
        """

    def digest(self) -> str:
        """SHA-256 of what it says."""


@dataclass(frozen=True)
class MaskFile:
    """A grey image file, foreground above 127."""

    path: Path

    def read(self) -> Marked:
        return Marked(read_mask(self.path))

    def size(self) -> tuple[int, int]:
        return picture_size(self.path)

    def digest(self) -> str:
        return file_digest(self.path)


@dataclass(frozen=True)
class IndexFile:
    """One class of an image file whose pixels are class indices.

    Attributes:
        path: The file; of a palette image the indices count, not the colours.
        index: The class.
        ignored: Indices that mean "nobody labelled this".
    """

    path: Path
    index: int
    ignored: frozenset[int] = frozenset()

    def read(self) -> Marked:
        indices = read_indices(self.path)
        left_out = np.isin(indices, list(self.ignored)) if self.ignored else None
        return Marked(indices == self.index, left_out)

    def size(self) -> tuple[int, int]:
        return picture_size(self.path)

    def digest(self) -> str:
        parts = [file_digest(self.path), str(self.index), *map(str, sorted(self.ignored))]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@dataclass(frozen=True)
class Shapes:
    """COCO's polygons and run lengths of one category on one image.

    Attributes:
        path: The annotation file.
        width, height: Of the image, in pixels.
        segments: Segmentations whose union is the mask.
        crowds: Segmentations of crowds, in which single objects are not told apart: left out.
    """

    path: Path
    width: int
    height: int
    segments: tuple[Any, ...]
    crowds: tuple[Any, ...] = ()

    def read(self) -> Marked:
        mask = draw_shapes(self.segments, self.height, self.width)
        if not self.crowds:
            return Marked(mask)
        return Marked(mask, draw_shapes(self.crowds, self.height, self.width) & ~mask)

    def size(self) -> tuple[int, int]:
        return self.width, self.height

    def digest(self) -> str:
        said = json.dumps([self.width, self.height, self.segments, self.crowds], sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()


def read_indices(path: Path) -> NDArray[np.int64]:
    """Class indices [H, W] of a file; the last few files are remembered, as each has many classes.

    Raises:
        BadInputError: The file does not read, or has several channels.
    """
    try:
        stat = path.stat()
    except OSError as error:
        raise BadInputError(f"{path} cannot be read: {error}") from error
    return _read_indices(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=8)
def _read_indices(path: Path, _changed: int, _size: int) -> NDArray[np.int64]:
    indices = read_picture(path, None)
    if indices.ndim != 2:
        raise BadInputError(
            f"{path} has {indices.shape[-1]} channels; a mask of class indices is a grey or palette image"
        )
    whole: NDArray[np.int64] = indices.astype(np.int64)
    whole.setflags(write=False)
    return whole
