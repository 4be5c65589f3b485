"""Strong augmentation for pretraining: one affine resampling, then changes of tone."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.pretrain.recipe import DatasetRow

Image = NDArray[np.uint8]
Mask = NDArray[np.float32]


def _matrix(
    rng: np.random.Generator, height: int, width: int, side: int, row: DatasetRow
) -> NDArray[np.float64]:
    """A 2x3 map from the image to the training square: squash, flip, turn, zoom, shift."""
    to_centre = np.array([[1, 0, -(width - 1) / 2], [0, 1, -(height - 1) / 2], [0, 0, 1.0]])
    squash = np.diag([side / width, side / height, 1.0])
    reorient = row.flips == "any" or (row.flips == "some" and rng.random() < 0.5)
    flip = np.eye(3)
    if (reorient or row.flips == "horizontal") and rng.random() < 0.5:
        flip[0, 0] = -1
    turn = np.deg2rad(rng.normal(0, 10))
    if reorient:
        turn += np.pi / 2 * rng.integers(4)
    zoom = np.exp(rng.uniform(*np.log(row.zoom)))
    stretch = np.exp(rng.normal(0, 0.06))
    cos, sin = np.cos(turn), np.sin(turn)
    spin = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) @ np.diag(
        [zoom * stretch, zoom / stretch, 1.0]
    )
    slack = 0.08 + max(zoom - 1, 0) / 2
    shift = rng.uniform(-slack, slack, 2) * side + (side - 1) / 2
    to_square = np.array([[1, 0, shift[0]], [0, 1, shift[1]], [0, 0, 1.0]])
    matrix: NDArray[np.float64] = (to_square @ spin @ flip @ squash @ to_centre)[:2]
    return matrix


def _tone(rng: np.random.Generator, image: Image) -> Image:
    """Random brightness, contrast, gamma, colour cast, greyness, blur and noise."""
    x = image.astype(np.float32) / 255
    if rng.random() < 0.4:
        x = x ** np.float32(np.exp(rng.normal(0, 0.25)))
    if rng.random() < 0.7:
        x = (x - 0.5) * np.float32(np.exp(rng.normal(0, 0.2))) + np.float32(0.5 + rng.normal(0, 0.1))
    if rng.random() < 0.3:
        x = x * np.exp(rng.normal(0, 0.12, 3)).astype(np.float32)
    if rng.random() < 0.12:
        x = np.repeat(x.mean(axis=2, keepdims=True), 3, axis=2)
    if rng.random() < 0.04:
        x = 1 - x
    if rng.random() < 0.15:
        x = cv2.GaussianBlur(x, (0, 0), rng.uniform(0.4, 1.3))
    if rng.random() < 0.25:
        x = x + rng.normal(0, rng.uniform(0.01, 0.06), (*x.shape[:2], 1)).astype(np.float32)
    toned: Image = (x.clip(0, 1) * 255).astype(np.uint8)
    return toned


def augment(
    rng: np.random.Generator, image: Image, mask: NDArray[np.bool_], side: int, row: DatasetRow
) -> tuple[Image, Mask]:
    """A random view of a labelled image.

    Args:
        rng: Source of all randomness.
        image: [H, W, 3].
        mask: [H, W].
        side: Side of the square that is returned.
        row: What this dataset bears (flips, zoom).

    Returns:
        Image [side, side, 3] and an anti-aliased mask [side, side] in 0..1.
    """
    height, width = mask.shape
    matrix = _matrix(rng, height, width, side, row)
    border = cv2.BORDER_REPLICATE if rng.random() < 0.5 else cv2.BORDER_CONSTANT
    moved = cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=border)
    target = cv2.warpAffine(mask.astype(np.float32), matrix, (side, side), flags=cv2.INTER_LINEAR)
    return _tone(rng, np.asarray(moved, np.uint8)), np.asarray(target, np.float32)
