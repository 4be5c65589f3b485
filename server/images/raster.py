"""PNG, JPEG, TIFF, BMP and WebP, read by Pillow."""

from __future__ import annotations

import re
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from models_store.upright import upright_rgb
from server.errors import ImageTooLargeError, UnreadableImageError
from server.images.decoded import ACCEPTED, DECODER_ERRORS, check_frames, check_size, first_line

SIGNATURES = (
    ("PNG", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("JPEG", re.compile(rb"\xff\xd8\xff")),
    ("TIFF", re.compile(rb"II\*\0|MM\0\*|II\+\0|MM\0\+")),
    ("WEBP", re.compile(rb"RIFF.{4}WEBP", re.DOTALL)),
    # Two letters begin many a text, so the reserved zeros of the header count too.
    ("BMP", re.compile(rb"BM.{4}\0{4}", re.DOTALL)),
)
# TIFF 6.0: bits of tag 254 that mark a smaller copy of another page, or its transparency mask.
NEW_SUBFILE_TYPE, NOT_A_PAGE = 254, 0b101
MAX_DIRECTORIES = 10_000
FORMATS = tuple(name for name, _ in SIGNATURES)


def sniff(content: bytes) -> str | None:
    """The format that the first bytes say, whatever the file's name was."""
    return next((name for name, signature in SIGNATURES if signature.match(content)), None)


def read_frames(
    content: bytes, name: str, *, max_pixels: int, max_frames: int, max_total_pixels: int
) -> list[NDArray[np.uint8]]:
    """Decode to upright RGB; of a TIFF file every page.

    16-bit and floating-point greys are spread between their 0.5 and 99.5 percentiles;
    transparency lies on black, as the surroundings of most medical images do.

    Args:
        content: The file.
        name: Its format, as :func:`sniff` says.
        max_pixels: Largest width times height taken; checked before decoding.
        max_frames: Most pages; with 1, a file of several is refused.
        max_total_pixels: Most pixels in all pages together; checked before each is decoded.

    Returns:
        [H, W, 3] uint8 each.

    Raises:
        ImageTooLargeError: More pixels or pages than that.
        UnreadableImageError: The file is damaged, cut short, or holds several images that are
            not pages.
    """
    try:
        with Image.open(BytesIO(content), formats=(name,)) as image:
            check_size(image.height, image.width, max_pixels)
            if name == "TIFF" and max_frames > 1:
                return _pages(image, max_pixels, max_frames, max_total_pixels)
            # A JPEG of several images is a photo with its previews; the first is the photo.
            if name != "JPEG" and _has_second(image):
                raise UnreadableImageError(f"the {name} file holds several images; a file of one is accepted")
            image.load()
            return [upright_rgb(image)]
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


def _pages(
    image: Image.Image, max_pixels: int, max_frames: int, max_total_pixels: int
) -> list[NDArray[np.uint8]]:
    pages: list[NDArray[np.uint8]] = []
    total = 0
    # A made-up file may claim millions of pages, so they are not counted before the first is read.
    for number in range(MAX_DIRECTORIES):
        try:
            image.seek(number)
        except EOFError:
            return pages
        tags = image.tag_v2 if isinstance(image, TiffImageFile) else {}
        if number and int(tags.get(NEW_SUBFILE_TYPE, 0)) & NOT_A_PAGE:
            continue
        check_size(image.height, image.width, max_pixels)
        total += image.height * image.width
        check_frames(len(pages) + 1, total, max_frames=max_frames, max_total_pixels=max_total_pixels)
        image.load()
        pages.append(upright_rgb(image))
    raise ImageTooLargeError(f"the TIFF file lists more than {MAX_DIRECTORIES:,} images")


def _has_second(image: Image.Image) -> bool:
    """Whether there is a second frame or page; counting them all may take minutes in a made-up file."""
    try:
        image.seek(1)
    except EOFError:
        image.seek(0)
        return False
    return True
