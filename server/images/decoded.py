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


def stretch(
    values: NDArray[np.generic],
    *,
    low: float = 0.5,
    high: float = 99.5,
    counted: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint8]:
    """Spread values between two percentiles over 0..255; outliers are clipped.

    Args:
        values: Any shape and type.
        low: Percentile that becomes black.
        high: Percentile that becomes white.
        counted: Which values the percentiles are taken of; all, if none are marked.
    """
    finite = np.nan_to_num(values.astype(np.float32))
    sample = finite[counted] if counted is not None and counted.any() else finite
    black, white = (float(v) for v in np.percentile(sample, (low, high)))
    if white <= black:
        # Little of the image differs from its background: the percentiles miss it, the range does not.
        black, white = float(sample.min()), float(sample.max())
    return scale(finite, black, white)


def scale(values: NDArray[np.generic], black: float, white: float) -> NDArray[np.uint8]:
    """Map ``black``..``white`` to 0..255, clipping; all is black where the two are equal."""
    if white == black:
        return np.zeros(values.shape, np.uint8)
    spread = (values.astype(np.float32) - black) * (255 / (white - black))
    return np.asarray(spread.round().clip(0, 255), dtype=np.uint8)


def as_rgb(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Repeat [H, W] as [H, W, 3]."""
    return np.repeat(grey[..., None], 3, axis=2)
