"""Images to send."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from models_store.errors import BadInputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".dcm", "")
AHEAD_BYTES = 64 * 1024**2


class Pictures(Protocol):
    """Numbered image files.

    Attributes:
        count: How many there are; None means no end.
    """

    @property
    def count(self) -> int | None: ...

    def content(self, number: int) -> bytes:
        """File ``number``, from 0."""


class SyntheticPictures:
    """Grey blobs on noise, each of another number different in its pixels.

    Args:
        side: Width and height.
        seed: Of the noise.
        ahead: So many are drawn at once, up to :data:`AHEAD_BYTES`: who draws while a server on the
            same machine works takes the processor from it.
    """

    def __init__(self, side: int = 352, seed: int = 0, ahead: int = 0):
        draw = np.random.default_rng(seed)
        coarse = draw.integers(40, 200, (side // 16 + 1, side // 16 + 1), dtype=np.uint8)
        smooth = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
        self._pixels = np.asarray(smooth).copy()
        self._drawn: list[bytes] = []
        room = AHEAD_BYTES
        while len(self._drawn) < ahead and room > 0:
            self._drawn.append(self._draw(len(self._drawn)))
            room -= len(self._drawn[-1])

    @property
    def count(self) -> int | None:
        return None

    def content(self, number: int) -> bytes:
        return self._drawn[number] if number < len(self._drawn) else self._draw(number)

    def _draw(self, number: int) -> bytes:
        pixels = self._pixels.copy()
        # The number in bits, black and white; two files differ and yet cost the same.
        bits = [255 * (number >> i & 1) for i in range(32)]
        pixels[0, : len(bits)] = bits[: pixels.shape[1]]
        out = BytesIO()
        Image.fromarray(pixels).save(out, format="PNG", compress_level=1)
        return out.getvalue()


class FolderPictures:
    """Images of a folder, in the order of their names; they are sent without their names.

    Args:
        folder: Searched to its depth.

    Raises:
        BadInputError: There is no image in it.
    """

    def __init__(self, folder: Path):
        hidden = (path for path in sorted(folder.rglob("*")) if not path.name.startswith("."))
        self._paths = [path for path in hidden if path.is_file() and path.suffix.lower() in SUFFIXES]
        if not self._paths:
            raise BadInputError(
                f"no image in {folder}; files that end in {', '.join(SUFFIXES[:-1])} are taken, "
                "and files without an ending"
            )

    @property
    def count(self) -> int | None:
        return len(self._paths)

    def content(self, number: int) -> bytes:
        return self._paths[number].read_bytes()
