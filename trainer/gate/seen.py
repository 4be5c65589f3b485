"""Which images a checkpoint has seen: those that moved its values, and those that chose its epoch.

A later candidate is compared with it only on others.
"""

from __future__ import annotations

import re
from pathlib import Path

from models_store.errors import DamagedError
from trainer.data.examples import Examples
from trainer.tuning.data import image_digests
from trainer.tuning.start import TRAINING_IMAGES

SELECTION_IMAGES = "selection_images.txt"
"""A file of every tuned checkpoint: SHA-256 of each image file that chose its epoch, one a line."""

_DIGEST = re.compile(r"[0-9a-f]{64}")


def selection_images(select: Examples) -> bytes:
    """Content of ``selection_images.txt``."""
    return "".join(f"{digest}\n" for digest in sorted(set(image_digests(select)))).encode()


def read_seen(folder: Path) -> frozenset[str] | None:
    """SHA-256 of the image files that a checkpoint has seen; None where it does not say.

    Raises:
        DamagedError: A file holds something else.
    """
    if not (folder / TRAINING_IMAGES).is_file():
        return None
    files = (folder / name for name in (TRAINING_IMAGES, SELECTION_IMAGES))
    return frozenset(digest for path in files if path.is_file() for digest in _digests(path))


def _digests(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="ascii").split()
    except (OSError, ValueError) as error:
        raise DamagedError(f"{path} cannot be read: {error}") from error
    if wrong := next((line for line in lines if not _DIGEST.fullmatch(line)), None):
        raise DamagedError(f"{path} holds {wrong[:80]!r}, which is no SHA-256")
    return lines
