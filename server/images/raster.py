"""PNG, JPEG, TIFF, BMP and WebP, read by Pillow."""

from __future__ import annotations

import re
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models_store.upright import upright_rgb
from server.errors import ImageTooLargeError, UnreadableImageError
from server.images.decoded import ACCEPTED, DECODER_ERRORS, check_size, first_line

SIGNATURES = (
    ("PNG", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("JPEG", re.compile(rb"\xff\xd8\xff")),
    ("TIFF", re.compile(rb"II\*\0|MM\0\*|II\+\0|MM\0\+")),
    ("WEBP", re.compile(rb"RIFF.{4}WEBP", re.DOTALL)),
    # Two letters begin many a text, so the reserved zeros of the header count too.
    ("BMP", re.compile(rb"BM.{4}\0{4}", re.DOTALL)),
)
FORMATS = tuple(name for name, _ in SIGNATURES)


def sniff(content: bytes) -> str | None:
    """The format that the first bytes say, whatever the file's name was."""
    return next((name for name, signature in SIGNATURES if signature.match(content)), None)


def read_raster(content: bytes, name: str, *, max_pixels: int) -> NDArray[np.uint8]:
    """Decode to upright RGB.

    16-bit and floating-point greys are spread between their 0.5 and 99.5 percentiles;
    transparency lies on black, as the surroundings of most medical images do.

    Args:
        content: The file.
        name: Its format, as :func:`sniff` says.
        max_pixels: Largest width times height taken; checked before decoding.

    Returns:
        [H, W, 3] uint8.

    Raises:
        ImageTooLargeError: The header says more pixels than that.
        UnreadableImageError: The file is damaged, cut short, or holds several images.
    """
    try:
        with Image.open(BytesIO(content), formats=(name,)) as image:
            check_size(image.height, image.width, max_pixels)
            # A JPEG of several images is a photo with its previews; the first is the photo.
            if name != "JPEG" and _has_second(image):
                raise UnreadableImageError(f"the {name} file holds several images; a file of one is accepted")
            image.load()
            return upright_rgb(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        pixels = re.search(r"\d+", str(error))
        said = f"{int(pixels.group()):,}" if pixels else "too many"
        raise ImageTooLargeError(
            f"the image's header says {said} pixels; at most {max_pixels:,} are accepted"
        ) from error
    except DECODER_ERRORS as error:
        raise UnreadableImageError(
            f"the file begins like a {name} image but cannot be decoded ({first_line(error)}): "
            f"damaged or cut short; {ACCEPTED}"
        ) from error


def _has_second(image: Image.Image) -> bool:
    """Whether there is a second frame or page; counting them all may take minutes in a made-up file."""
    try:
        image.seek(1)
    except EOFError:
        image.seek(0)
        return False
    return True
