"""Mask files of 0 and 255, and telling them from files that are something else."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from models_store.errors import BadInputError
from trainer.data.pictures import opened

# Anti-aliased and JPEG masks are foreground above the middle.
MASK_THRESHOLD = 127
# Values that are neither nearly 0 nor nearly 255.
GREY = (32, 223)
# Edges of anti-aliased and JPEG masks are grey, but no wider than this leaves anything of.
EDGE = np.ones((3, 3), np.uint8)
MOST_GREY = 0.01
# Of values from 1 on that are nearly 0, class indices fill areas of one value; edges do not.
MOST_FLAT = 0.5
# What JPEG makes of a black mask at most.
BLACK = 12
MOST_COLOURED = 0.01


def read_mask(path: Path) -> NDArray[np.bool_]:
    """A mask [H, W], true above 127.

    Raises:
        BadInputError: The file does not read, or cannot be a mask: it is a photograph, in colour, has more
            than 8 bits, it holds class indices, or nothing in it is above 127 though it is not black.
    """
    grey = _grey(path)
    highest = int(grey.max(initial=0))
    jpeg = path.suffix.lower() in {".jpg", ".jpeg"}
    if 0 < highest <= MASK_THRESHOLD and not (jpeg and highest <= BLACK):
        raise BadInputError(
            f"{path} is no mask of 0 and 255: its highest value is {highest}, so that nothing is above "
            f"{MASK_THRESHOLD}; for class indices put classes.json into the dataset's folder"
        )
    # With 255 for what nobody labelled, which would be taken for foreground.
    if not jpeg and _holds_indices(grey):
        raise BadInputError(
            f"{path} is no mask of 0 and 255: it has areas of values from 1 to {GREY[0] - 1}, as of class "
            "indices; for these put classes.json into the dataset's folder"
        )
    # Thin structures may be grey all over, but only photographs are grey in areas.
    areas = cv2.erode(((grey >= GREY[0]) & (grey <= GREY[1])).astype(np.uint8), EDGE).mean()
    if areas > MOST_GREY:
        raise BadInputError(
            f"{path} is no mask of 0 and 255: {areas:.0%} of it are grey areas, as of a photograph"
        )
    mask: NDArray[np.bool_] = grey > MASK_THRESHOLD
    return mask


def _holds_indices(grey: NDArray[np.uint8]) -> bool:
    low = (grey > 0) & (grey < GREY[0])
    flat = low & (cv2.erode(grey, EDGE) == cv2.dilate(grey, EDGE))
    return bool(flat.mean() > MOST_GREY and flat.sum() > MOST_FLAT * low.sum())


def _grey(path: Path) -> NDArray[np.uint8]:
    with opened(path) as picture:
        mode = picture.mode
        if mode in {"I", "F"} or mode.startswith("I;"):
            raise BadInputError(f"{path} is no mask of 0 and 255: its pixels have more than 8 bits")
        if mode not in {"1", "L", "LA"}:
            colours = np.asarray(picture.convert("RGB"))
            spread = colours.max(axis=2).astype(np.int16) - colours.min(axis=2)
            # JPEG stores colours coarsely, so a little of them is no sign.
            if (spread > GREY[0]).mean() > MOST_COLOURED:
                raise BadInputError(f"{path} is no mask of 0 and 255: it is a colour image")
        return np.array(picture.convert("L"))
