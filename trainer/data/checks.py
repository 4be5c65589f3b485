"""Looking at every file of a dataset: whether it reads, fits, and is what it should be."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from models_store.errors import BadInputError, StudioError
from trainer.data.items import LabelledImage
from trainer.data.pictures import read_image

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
            empty.append(not item.truth.read().mask.any())
        except StudioError as error:
            empty.append(None)
            faults.append(str(error))
    return ImageFacts(path, size, digest, tuple(empty), tuple(dict.fromkeys(faults)))
