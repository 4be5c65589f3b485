"""An image as the rest of the server knows it, and the errors on the way there."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from server.errors import ImageTooLargeError

ACCEPTED = "accepted are PNG, JPEG, TIFF, BMP, WebP and single-frame DICOM"

# What decoders raise on damaged files: their own errors, and whatever they stumble over.
DECODER_ERRORS = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True)
class DecodedImage:
    """One upright image.

    Attributes:
        pixels: [H, W, 3] uint8, RGB.
        format: ``PNG``, ``JPEG``, ``TIFF``, ``BMP``, ``WEBP`` or ``DICOM``.
        digest: SHA-256 of the file's bytes, hexadecimal.
        spacing: Millimetres between rows and between columns, where the file says.
    """

    pixels: NDArray[np.uint8]
    format: str
    digest: str
    spacing: tuple[float, float] | None

    @property
    def height(self) -> int:
        return self.pixels.shape[0]

    @property
    def width(self) -> int:
        return self.pixels.shape[1]


def first_line(error: Exception) -> str:
    """What a decoder said, short enough for a sentence."""
    return str(error).strip().partition("\n")[0][:200] or type(error).__name__


def check_size(rows: int, columns: int, max_pixels: int) -> None:
    """Raise ImageTooLargeError if an image of this size has too many pixels."""
    if rows * columns > max_pixels:
        raise ImageTooLargeError(
            f"the image's header says {columns:,} x {rows:,} = {rows * columns:,} pixels; "
            f"at most {max_pixels:,} are accepted"
        )
