"""Telling copies of an image from other images, whatever their encoding."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 16
# Of 256 bits. Copies of half the size as coarse JPEG differ in at most 13 on X-rays, ultrasound, wounds and
# CT; X-rays of different patients differ in at least 21, and neighbouring slices of a volume in about 9.
NEAR = 12


def pixels_digest(pixels: NDArray[np.uint8]) -> str:
    """SHA-256 of size and pixels of an RGB image [H, W, 3]: the same for any lossless encoding."""
    size = pixels.shape[1], pixels.shape[0]
    return hashlib.sha256(f"{size}".encode() + pixels.tobytes()).hexdigest()


def fingerprint(pixels: NDArray[np.uint8]) -> str:
    """The difference hash of an RGB image [H, W, 3], 256 bits as 64 hexadecimal digits.

    Whether each of 16 x 16 cells is brighter than the one to its left; brightness, contrast and
    small losses of compression leave that alone.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (SIDE + 1, SIDE), interpolation=cv2.INTER_AREA)
    return np.packbits(small[:, 1:] > small[:, :-1]).tobytes().hex()


def nearest(one: str, others: Sequence[str]) -> int | None:
    """Which of some fingerprints is nearest, if it is near enough to be of a copy; the first of equals."""
    if not others:
        return None
    mine = np.frombuffer(bytes.fromhex(one), np.uint8)
    all_of_them = np.frombuffer(bytes.fromhex("".join(others)), np.uint8).reshape(len(others), -1)
    distances = np.bitwise_count(mine ^ all_of_them).sum(axis=1)
    at = int(distances.argmin())
    return at if distances[at] <= NEAR else None
