"""An image as the rest of the server knows it, and the errors on the way there."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydicom.errors import BytesLengthException, InvalidDicomError

from server.errors import ImageTooLargeError

ACCEPTED = "accepted are PNG, JPEG, TIFF, BMP, WebP and DICOM"

# What decoders raise on damaged files: their own errors, and whatever they stumble over.
DECODER_ERRORS = (
    ArithmeticError,
    AttributeError,
    BytesLengthException,
    EOFError,
    InvalidDicomError,
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
    """One upright image, or one frame of a file that holds several.

    Attributes:
        pixels: [H, W, 3] uint8, RGB.
        format: ``PNG``, ``JPEG``, ``TIFF``, ``BMP``, ``WEBP`` or ``DICOM``.
        digest: SHA-256 of the file's bytes, hexadecimal.
        spacing: Millimetres between rows and between columns, where the file says.
        frame: Which frame of the file, from 0.
        frames: How many the file holds.
        header: Elements of a single-frame DICOM file beside its pixels, as
            :func:`server.images.dicom_header.header_of` writes them; never shown in logs.
    """

    pixels: NDArray[np.uint8]
    format: str
    digest: str
    spacing: tuple[float, float] | None
    frame: int = 0
    frames: int = 1
    header: bytes | None = field(default=None, repr=False)

    @property
    def key(self) -> str:
        """Tells these pixels apart from those of every other file and frame."""
        return self.digest if self.frames == 1 else f"{self.digest}:{self.frame}"

    @property
    def height(self) -> int:
        return self.pixels.shape[0]

    @property
    def width(self) -> int:
        return self.pixels.shape[1]


def first_line(error: Exception) -> str:
    """What a decoder said, short enough for a sentence."""
    return str(error).strip().partition("\n")[0][:200] or type(error).__name__


def check_frames(count: int, pixels: int, *, max_frames: int, max_total_pixels: int) -> None:
    """Raise ImageTooLargeError if a file has too many frames, or too many pixels in all of them."""
    if count > max_frames:
        raise ImageTooLargeError(
            f"the file holds {count:,} frames or more; at most {max_frames:,} are accepted"
        )
    if pixels > max_total_pixels:
        raise ImageTooLargeError(
            f"{count:,} frames of the file have {pixels:,} pixels; "
            f"at most {max_total_pixels:,} in all frames together are accepted"
        )


def check_size(rows: int, columns: int, max_pixels: int) -> None:
    """Raise ImageTooLargeError if an image of this size has too many pixels."""
    if rows * columns > max_pixels:
        raise ImageTooLargeError(
            f"the image's header says {columns:,} x {rows:,} = {rows * columns:,} pixels; "
            f"at most {max_pixels:,} are accepted"
        )
