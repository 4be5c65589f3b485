"""Images with outlines of masks, small enough for a page."""

from __future__ import annotations

import io
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 360
Colour = tuple[int, int, int]


def outlines(
    image: NDArray[np.uint8],
    regions: Sequence[tuple[NDArray[np.bool_], Colour]],
    side: int = SIDE,
) -> NDArray[np.uint8]:
    """Draw the outlines of masks on an image, later ones over earlier ones.

    Args:
        image: [H, W, 3].
        regions: Masks [H, W], each with its colour.
        side: Most pixels of the longer side of what is returned.

    Returns:
        [h, w, 3].
    """
    height, width = image.shape[:2]
    scale = min(1.0, side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    drawn: NDArray[np.uint8] = np.ascontiguousarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
    for region, colour in regions:
        small = cv2.resize(region.astype(np.uint8), size, interpolation=cv2.INTER_AREA)
        contours, _ = cv2.findContours(small, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(drawn, contours, -1, colour, 2)
    return drawn


def jpeg(image: NDArray[np.uint8]) -> bytes:
    """An image [H, W, 3] as JPEG bytes."""
    content = io.BytesIO()
    Image.fromarray(image).save(content, "JPEG", quality=85)
    return content.getvalue()
