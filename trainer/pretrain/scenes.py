"""Synthesised scenes: shapes on textures, with phrases that name colour, size, shape and place.

They make words matter: the same image has many right answers, and only the phrase tells which.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (205, 45, 40),
    "green": (50, 160, 70),
    "blue": (45, 85, 200),
    "yellow": (225, 205, 60),
    "purple": (130, 60, 160),
    "pink": (235, 150, 175),
    "brown": (120, 75, 45),
    "white": (240, 240, 240),
    "black": (18, 18, 18),
    "bright": (215, 215, 215),
    "dark": (40, 40, 40),
}
SHAPES = ("circle", "ellipse", "square", "triangle", "ring", "blob", "line")
PLACES = ("left", "right", "top", "bottom", "middle")
GENERAL = ("object", "region", "shape", "structure")


@dataclass(frozen=True)
class Thing:
    """One drawn object and the words that are true of it."""

    colour: str
    shape: str
    size: str
    place: str
    mask: NDArray[np.uint8]


def _background(rng: np.random.Generator, side: int) -> NDArray[np.float32]:
    cells = int(rng.integers(2, 24))
    coarse = rng.normal(0, 1, (cells, cells, 3)).astype(np.float32)
    if rng.random() < 0.5:
        coarse = coarse.mean(axis=2, keepdims=True).repeat(3, axis=2)
    texture = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    base = rng.uniform(50, 205, 3 if rng.random() < 0.5 else 1)
    speckle = rng.normal(0, rng.uniform(0, 18), (side, side, 1))
    canvas = base + texture * rng.uniform(4, 22) + speckle
    return np.broadcast_to(canvas, (side, side, 3)).astype(np.float32).copy()


def _outline(
    rng: np.random.Generator, shape: str, centre: NDArray[np.float64], radius: float
) -> NDArray[np.float64]:
    if shape in ("square", "triangle"):
        corners = 4 if shape == "square" else 3
        angles = rng.uniform(0, 2 * np.pi) + np.arange(corners) * 2 * np.pi / corners
        return centre + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    reach = np.full(48, radius)
    if shape == "blob":
        for wave in range(2, 6):
            amount = rng.uniform(-0.22, 0.22) / (wave - 1)
            reach += radius * amount * np.sin(wave * angles + rng.uniform(0, 6.3))
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1) * reach[:, None]
    if shape == "ellipse":
        points[:, 1] *= rng.uniform(0.4, 0.7)
        turn = rng.uniform(0, np.pi)
        cos, sin = np.cos(turn), np.sin(turn)
        points = points @ np.array([[cos, -sin], [sin, cos]])
    return centre + points


def _draw(
    rng: np.random.Generator, side: int, shape: str, centre: NDArray[np.float64], radius: float
) -> NDArray[np.uint8]:
    mask = np.zeros((side, side), np.uint8)
    if shape == "line":
        t = np.linspace(-1, 1, 20)
        turn, bend = rng.uniform(0, np.pi), rng.uniform(-0.5, 0.5)
        points = np.stack([t * np.cos(turn) - bend * t**2 * np.sin(turn), t * np.sin(turn) + bend * t**2], 1)
        path = (centre + points * radius * 1.6).astype(np.int32)
        cv2.polylines(mask, [path], False, 1, thickness=int(rng.integers(2, 6)))
    else:
        outline = _outline(rng, "circle" if shape == "ring" else shape, centre, radius)
        cv2.fillPoly(mask, [outline.astype(np.int32)], 1)
        if shape == "ring":
            inner = centre + (outline - centre) * rng.uniform(0.5, 0.75)
            cv2.fillPoly(mask, [inner.astype(np.int32)], 0)
    return mask


def _place(centre: NDArray[np.float64], side: int) -> str:
    x, y = centre / side - 0.5
    if abs(x) < 0.15 and abs(y) < 0.15:
        return "middle"
    if abs(x) > abs(y):
        return "left" if x < 0 else "right"
    return "top" if y < 0 else "bottom"


def _phrase(rng: np.random.Generator, thing: Thing) -> tuple[str, dict[str, str]]:
    """A phrase about a thing, and the properties another thing needs to be meant by it too."""
    says: dict[str, str] = {}
    noun = str(rng.choice(GENERAL))
    if rng.random() < 0.7:
        noun = says["shape"] = thing.shape
    words = noun
    if rng.random() < 0.6 or not says:
        words = f"{thing.colour} {words}"
        says["colour"] = thing.colour
    if rng.random() < 0.25:
        words = f"{thing.size} {words}"
        says["size"] = thing.size
    if rng.random() < 0.3:
        says["place"] = thing.place
        at = "in the middle" if thing.place == "middle" else f"at the {thing.place}"
        words = f"{words} {at}"
    article = str(rng.choice(["", "a ", "the "]))
    return article + words, says


def _draw_things(rng: np.random.Generator, side: int) -> tuple[NDArray[np.uint8], list[Thing]]:
    canvas = _background(rng, side)
    things: list[Thing] = []
    covered = np.zeros((side, side), bool)
    for _ in range(int(rng.integers(2, 6))):
        large = rng.random() < 0.5
        radius = side * (rng.uniform(0.15, 0.24) if large else rng.uniform(0.04, 0.09))
        centre = rng.uniform(radius, side - radius, 2)
        shape, colour = str(rng.choice(SHAPES)), str(rng.choice(list(COLOURS)))
        mask = _draw(rng, side, shape, centre, radius)
        if not mask.any() or (covered & (mask > 0)).sum() > 0.1 * mask.sum():
            continue
        tint = np.array(COLOURS[colour]) + rng.normal(0, 12, 3)
        soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), rng.uniform(0.4, 1.6))[..., None]
        alpha = soft * rng.uniform(0.75, 1.0)
        canvas = canvas * (1 - alpha) + tint.astype(np.float32) * alpha
        covered |= mask > 0
        things.append(Thing(colour, shape, "large" if large else "small", _place(centre, side), mask))
    canvas += rng.normal(0, rng.uniform(0, 8), canvas.shape)
    return canvas.clip(0, 255).astype(np.uint8), things


def _question(rng: np.random.Generator, side: int, things: list[Thing]) -> tuple[str, NDArray[np.float32]]:
    phrase, says = _phrase(rng, things[int(rng.integers(len(things)))])
    absent = [c for c in ("red", "green", "blue", "purple") if all(t.colour != c for t in things)]
    if absent and rng.random() < 0.25:
        noun = str(rng.choice(SHAPES))
        phrase, says = f"{rng.choice(absent)} {noun}", {"colour": "absent"}
    union = np.zeros((side, side), np.float32)
    for thing in things:
        if all(getattr(thing, key) == value for key, value in says.items()):
            union[thing.mask > 0] = 1
    return phrase, union


def draw_scene_questions(
    rng: np.random.Generator, side: int, count: int
) -> tuple[NDArray[np.uint8], list[tuple[str, NDArray[np.float32]]]]:
    """Draw a scene and several phrases about it.

    Args:
        rng: Source of all randomness.
        side: Height and width in pixels.
        count: Number of phrases.

    Returns:
        Image [side, side, 3] uint8, and each phrase with its mask [side, side] in 0..1. In about a
        quarter of the cases the phrase names something that is not there and the mask is empty.
    """
    image, things = _draw_things(rng, side)
    return image, [_question(rng, side, things) for _ in range(count)]


def draw_scene(rng: np.random.Generator, side: int) -> tuple[NDArray[np.uint8], NDArray[np.float32], str]:
    """Draw a scene and one phrase about it; see :func:`draw_scene_questions`."""
    image, [(phrase, mask)] = draw_scene_questions(rng, side, 1)
    return image, mask, phrase
