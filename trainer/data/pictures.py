"""Reading image files."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from models_store.errors import BadInputError
from models_store.upright import upright_rgb

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif"})


# What decoders raise on damaged files.
UNREADABLE = (
    EOFError,
    LookupError,
    OSError,
    SyntaxError,
    UnidentifiedImageError,
    ValueError,
    Image.DecompressionBombError,
    struct.error,
    zlib.error,
)


def read_image(path: Path) -> NDArray[np.uint8]:
    """A photograph or scan as RGB [H, W, 3], just as the server reads it.

    Raises:
        BadInputError: It cannot be read as an image.
    """
    with opened(path) as picture:
        return upright_rgb(picture)


def read_picture(path: Path, mode: str | None) -> NDArray[np.uint8]:
    """The pixels of a file, converted to a mode of Pillow's, or as they are stored where it is None.

    Raises:
        BadInputError: It cannot be read as an image.
    """
    with opened(path) as picture:
        return np.array(picture if mode is None else picture.convert(mode))


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height by the file's header.

    Raises:
        BadInputError: It cannot be read as an image.
    """
    with opened(path) as picture:
        return picture.size


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """An image file, open as long as the context is.

    Raises:
        BadInputError: It cannot be read as an image, now or inside the context.
    """
    try:
        with Image.open(path) as picture:
            yield picture
    except UNREADABLE as error:
        raise BadInputError(f"{path} cannot be read as an image: {error}") from error


def pictures_in(folder: Path) -> list[Path]:
    """Image files of a folder and its sub-folders, sorted; hidden files are left out."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
