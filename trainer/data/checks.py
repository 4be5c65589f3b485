"""Whether files can be what a dataset says they are: images that read, masks that are masks."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from models_store.errors import BadInputError, StudioError
from trainer.data.items import LabelledImage
from trainer.data.pictures import opened, read_image
from trainer.data.truths import MASK_THRESHOLD, MaskFile, Truth

# Values that are neither nearly 0 nor nearly 255.
GREY = (32, 223)
# Edges of anti-aliased and JPEG masks are grey, but no wider than this leaves anything of.
EDGE = np.ones((3, 3), np.uint8)
MOST_GREY = 0.01
# What JPEG makes of a black mask at most.
BLACK = 12
MOST_COLOURED = 0.01
WORKERS = min(8, os.cpu_count() or 1)


@dataclass(frozen=True)
class ImageFacts:
    """What looking at an image and its truths gave.

    Attributes:
        path: The image's file.
        size: Width and height; None of an image that does not read.
        digest: SHA-256 of size and pixels, whatever the file's encoding.
        empty: For each of its items, whether the mask is; None where it does not read.
        faults: What is wrong, a line each.
    """

    path: Path
    size: tuple[int, int] | None
    digest: str | None
    empty: tuple[bool | None, ...]
    faults: tuple[str, ...]


def look_at(images: Sequence[Sequence[LabelledImage]]) -> list[ImageFacts]:
    """Look at all images; each entry holds the items of one image. Files are read side by side."""
    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(_look, images))


def _look(items: Sequence[LabelledImage]) -> ImageFacts:
    path = items[0].image_path
    faults: list[str] = []
    size = digest = None
    try:
        pixels = read_image(path)
        size = pixels.shape[1], pixels.shape[0]
        digest = hashlib.sha256(f"{size}".encode() + pixels.tobytes()).hexdigest()
    except StudioError as error:
        faults.append(str(error))
    empty: list[bool | None] = []
    for item in items:
        try:
            if size is not None and item.truth.size() != size:
                width, height = item.truth.size()
                turned = "; is it turned by its EXIF orientation?" if (height, width) == size else ""
                raise BadInputError(
                    f"{item.name}: image is {size[0]}x{size[1]}, but its mask is {width}x{height}{turned}"
                )
            empty.append(not truth_mask(item.truth).any())
        except StudioError as error:
            empty.append(None)
            faults.append(str(error))
    return ImageFacts(path, size, digest, tuple(empty), tuple(dict.fromkeys(faults)))


def truth_mask(truth: Truth) -> NDArray[np.bool_]:
    """The mask [H, W] of a truth that can be one.

    Raises:
        BadInputError: It does not read, or is something else than a mask.
    """
    if not isinstance(truth, MaskFile):
        return truth.read().mask
    grey = _grey(truth.path)
    highest = int(grey.max(initial=0))
    jpeg = truth.path.suffix.lower() in {".jpg", ".jpeg"}
    if 0 < highest <= MASK_THRESHOLD and not (jpeg and highest <= BLACK):
        raise BadInputError(
            f"{truth.path} is no mask of 0 and 255: its highest value is {highest}, so that nothing is above "
            f"{MASK_THRESHOLD}; for class indices put classes.json into the dataset's folder"
        )
    # Thin structures may be grey all over, but only photographs are grey in areas.
    areas = cv2.erode(((grey >= GREY[0]) & (grey <= GREY[1])).astype(np.uint8), EDGE).mean()
    if areas > MOST_GREY:
        raise BadInputError(
            f"{truth.path} is no mask of 0 and 255: {areas:.0%} of it are grey areas, as of a photograph"
        )
    mask: NDArray[np.bool_] = grey > MASK_THRESHOLD
    return mask


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
