"""Masks and probabilities as PNG files."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable
from io import BytesIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Told apart under every common colour blindness (Okabe and Ito, 2008), in the page's order; their
# black, which a dark image would swallow, is white here, and their orange, which drowns in tissue, not first.
COLOURS = (
    (86, 180, 233),
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (240, 228, 66),
    (213, 94, 0),
    (0, 114, 178),
    (255, 255, 255),
)
OPACITY = 0.4
# Turning the hue by the golden section keeps each further colour far from those before it.
GOLDEN_SECTION = 0.618033988749895
# Outlines keep their look on large images: one pixel per this many.
OUTLINE_UNIT = 400


def colour_of(index: int) -> tuple[int, int, int]:
    """Colour of the i-th mask; beyond :data:`COLOURS` they are made, and harder to tell apart."""
    if index < len(COLOURS):
        return COLOURS[index]
    further = index - len(COLOURS)
    red, green, blue = colorsys.hsv_to_rgb(further * GOLDEN_SECTION % 1, (0.55, 0.9)[further % 2], 0.95)
    return round(red * 255), round(green * 255), round(blue * 255)


def mask_png(mask: NDArray[np.bool_]) -> bytes:
    """An 8-bit PNG, 255 inside."""
    return _png(mask.astype(np.uint8) * 255)


def image_png(image: NDArray[np.uint8]) -> bytes:
    """An 8-bit RGB PNG of an image [H, W, 3]."""
    return _png(image)


def probability_png(probability: NDArray[np.float32]) -> bytes:
    """An 8-bit PNG, 255 where the probability is 1."""
    return _png((probability * 255).round().astype(np.uint8))


def deep_probability_png(probability: NDArray[np.float32]) -> bytes:
    """A 16-bit PNG, 65,535 where the probability is 1."""
    return _png((probability.astype(np.float64) * 65535).round().astype(np.uint16))


def labels_png(labels: NDArray[np.uint8]) -> bytes:
    """An 8-bit PNG whose grey values are the labels themselves."""
    return _png(labels)


def overlay_png(image: NDArray[np.uint8], masks: Iterable[NDArray[np.bool_]]) -> bytes:
    """The image under all masks, each tinted and outlined in its colour.

    Args:
        image: RGB [H, W, 3].
        masks: [H, W] each; the i-th takes :func:`colour_of` i.
    """
    shown = image.copy()
    outline = max(1, round(max(image.shape[:2]) / OUTLINE_UNIT))
    for index, mask in enumerate(masks):
        colour = colour_of(index)
        tint = np.array(colour, dtype=np.float32) * OPACITY
        shown[mask] = (shown[mask] * (1 - OPACITY) + tint).round().astype(np.uint8)
        edges, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(shown, edges, -1, colour, outline)
    return _png(shown)


def _png(pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    out = BytesIO()
    Image.fromarray(pixels).save(out, format="PNG", compress_level=3)
    return out.getvalue()
