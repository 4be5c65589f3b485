"""Masks as they are kept: PNG files of one bit, the same for the same pixels."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models_store import rle
from models_store.errors import BadInputError
from trainer.data.masks import read_mask
from trainer.data.pictures import picture_size


def encode_mask(mask: NDArray[np.bool_]) -> bytes:
    """A mask [H, W] as a PNG file of one bit."""
    out = BytesIO()
    Image.fromarray(mask).save(out, "PNG")
    return out.getvalue()


def mask_of_file(content: bytes, size: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask of a file of 0 and 255.

    Args:
        content: The file, of any format that masks have in folders.
        size: Width and height it must have.

    Raises:
        BadInputError: It does not read, is something else than a mask, or does not fit.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder, "mask.jpg" if content.startswith(b"\xff\xd8\xff") else "mask")
        path.write_bytes(content)
        try:
            # By its header, before pixels that may be many are read.
            check_mask_size(picture_size(path), size)
            return read_mask(path)
        except BadInputError as error:
            raise BadInputError(str(error).replace(str(path), "the mask")) from error


def mask_of_runs(counts: str, size: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask of COCO's run-length counts.

    Args:
        counts: The string.
        size: Width and height that the runs must fill.

    Raises:
        BadInputError: They are malformed, or do not fill it.
    """
    width, height = size
    return rle.decode(counts, height, width)


def check_mask_size(mask: tuple[int, int], image: tuple[int, int]) -> None:
    """Raise BadInputError unless a mask is as wide and high as its image."""
    if mask != image:
        (wide, high), (width, height) = mask, image
        turned = "; is it turned by its EXIF orientation?" if (high, wide) == image else ""
        raise BadInputError(f"the mask is {wide}x{high}, but the image is {width}x{height}{turned}")
