"""Synthesised dermoscopy: pigmented lesions on skin.

The recipe's skin dataset has ten training images; a network soon knows them by heart and marks skin
at large. These pictures vary what ten photographs cannot: tone, size, outline, number, hairs.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Canvas = NDArray[np.float32]
PIGMENTS = ((95, 55, 40), (60, 35, 30), (140, 85, 60), (170, 95, 85), (45, 40, 45))


def _smooth_noise(rng: np.random.Generator, side: int, cells: int) -> Canvas:
    coarse = rng.normal(0, 1, (cells, cells)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC), np.float32)


def _skin(rng: np.random.Generator, side: int) -> Canvas:
    tone = np.array([225, 175, 155]) * rng.uniform(0.65, 1.08) + rng.normal(0, 14, 3)
    light = _smooth_noise(rng, side, int(rng.integers(2, 5))) * rng.uniform(2, 14)
    pores = _smooth_noise(rng, side, side // int(rng.integers(3, 9))) * rng.uniform(1, 7)
    blotches = _smooth_noise(rng, side, int(rng.integers(5, 14)))[..., None] * rng.normal(0, 5, 3)
    return np.asarray(tone + (light + pores)[..., None] + blotches, np.float32)


def _outline(rng: np.random.Generator, side: int) -> NDArray[np.bool_]:
    """An irregular region: a wavy disc whose border is broken up by noise."""
    y, x = np.mgrid[:side, :side] / side - 0.5
    centre = rng.normal(0, 0.1, 2)
    radius = np.exp(rng.uniform(np.log(0.06), np.log(0.36)))
    stretch = rng.uniform(0.65, 1.5)
    turn = rng.uniform(0, np.pi)
    dx, dy = x - centre[0], y - centre[1]
    along = (dx * np.cos(turn) + dy * np.sin(turn)) * stretch
    across = (dy * np.cos(turn) - dx * np.sin(turn)) / stretch
    ragged = _smooth_noise(rng, side, int(rng.integers(5, 18))) * rng.uniform(0.02, 0.16)
    inside: NDArray[np.bool_] = np.hypot(along, across) / radius + ragged < 1
    return inside


def _hairs(rng: np.random.Generator, canvas: Canvas) -> None:
    side = len(canvas)
    for _ in range(int(rng.integers(0, 18)) if rng.random() < 0.4 else 0):
        start, reach = rng.uniform(0, side, 2), rng.normal(0, side / 3, 2)
        bend = rng.normal(0, side / 12, 2)
        t = np.linspace(0, 1, 16)[:, None]
        path = start + reach * t + bend * np.sin(np.pi * t)
        shade = (np.array([60, 45, 40]) + rng.normal(0, 10, 3)).tolist()
        cv2.polylines(canvas, [path.astype(np.int32)], False, shade, 1, cv2.LINE_AA)


def draw_mole(rng: np.random.Generator, side: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Draw skin with a pigmented lesion.

    Args:
        rng: Source of all randomness.
        side: Height and width in pixels.

    Returns:
        Image [side, side, 3] uint8 and the lesion's mask [side, side] in 0..1.
    """
    canvas = _skin(rng, side)
    inside = _outline(rng, side)
    soft = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), rng.uniform(0.6, side / 60))
    pigment = np.array(PIGMENTS[int(rng.integers(len(PIGMENTS)))]) + rng.normal(0, 15, 3)
    mottled = _smooth_noise(rng, side, int(rng.integers(4, 24)))[..., None] * rng.uniform(4, 24)
    alpha = soft[..., None] * rng.uniform(0.35, 0.95)
    canvas = np.asarray(canvas * (1 - alpha) + (pigment + mottled) * alpha, np.float32)
    _hairs(rng, canvas)
    if rng.random() < 0.15:
        y, x = np.mgrid[:side, :side] / side - 0.5
        canvas *= (np.hypot(x, y) < rng.uniform(0.5, 0.65))[..., None]
    canvas += rng.normal(0, rng.uniform(0, 5), canvas.shape)
    return canvas.clip(0, 255).astype(np.uint8), inside.astype(np.float32)
