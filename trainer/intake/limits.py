"""What one upload may hold."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class IntakeLimits:
    """Bounds of one upload.

    Attributes:
        max_pixels: Largest width times height of an image.
        max_entries: Most files and folders of an archive.
        max_unpacked_bytes: Most bytes of all its files together, unpacked.
        max_ratio: How many times its own size an archive may unpack to.
    """

    max_pixels: int
    max_entries: int
    max_unpacked_bytes: int
    max_ratio: float
