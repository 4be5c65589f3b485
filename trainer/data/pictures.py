"""Reading image files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from models_store.errors import BadInputError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif"})


def read_picture(path: Path, mode: str | None) -> NDArray[np.uint8]:
    """The pixels of a file, converted to a mode of Pillow's, or as they are stored where it is None.

    Raises:
        BadInputError: It cannot be read as an image.
    """
    try:
        with Image.open(path) as opened:
            return np.array(opened if mode is None else opened.convert(mode))
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadInputError(f"{path} cannot be read as an image: {error}") from error


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height by the file's header.

    Raises:
        BadInputError: It cannot be read as an image.
    """
    try:
        with Image.open(path) as opened:
            return opened.size
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadInputError(f"{path} cannot be read as an image: {error}") from error


def pictures_in(folder: Path) -> list[Path]:
    """Image files of a folder and its sub-folders, sorted; hidden files are left out."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
