"""From what an image file stores to upright RGB: the same for images served and images trained on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

DEEP_MODES = ("I", "F")


def upright_rgb(image: Image.Image) -> NDArray[np.uint8]:
    """The pixels [H, W, 3] of an opened image, turned as its EXIF orientation says.

    16-bit and floating-point greys are spread between their 0.5 and 99.5 percentiles;
    transparency lies on black, as the surroundings of most medical images do.
    """
    upright = ImageOps.exif_transpose(image)
    if upright.mode.split(";")[0] in DEEP_MODES:
        return as_rgb(stretch(np.asarray(upright)))
    if upright.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in upright.info:
        upright = upright.convert("RGBA")
        ground = Image.new("RGBA", upright.size, (0, 0, 0, 255))
        upright = Image.alpha_composite(ground, upright)
    return np.array(upright.convert("RGB"), dtype=np.uint8)


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
