"""Uploads to pixels: one function for every format."""

from __future__ import annotations

import hashlib

from server.errors import UnreadableImageError
from server.images import raster
from server.images.decoded import ACCEPTED, DecodedImage
from server.images.dicom import looks_like_dicom, read_dicom

__all__ = ["FORMATS", "DecodedImage", "read_image"]

FORMATS = (*raster.FORMATS, "DICOM")


def read_image(content: bytes, *, max_pixels: int) -> DecodedImage:
    """Decode an upload, told apart by its content.

    Args:
        content: The file's bytes.
        max_pixels: Largest width times height taken.

    Raises:
        UnreadableImageError: Not an image of an accepted format, damaged, or of several frames.
        ImageTooLargeError: More pixels than ``max_pixels``, by its header.
    """
    if not content:
        raise UnreadableImageError(f"the image file is empty (0 bytes); {ACCEPTED}")
    digest = hashlib.sha256(content).hexdigest()
    if looks_like_dicom(content):
        pixels, spacing = read_dicom(content, max_pixels=max_pixels)
        return DecodedImage(pixels, "DICOM", digest, spacing)
    name = raster.sniff(content)
    if name is None:
        raise UnreadableImageError(
            f"the file of {len(content):,} bytes is not an image this service reads; {ACCEPTED}"
        )
    return DecodedImage(raster.read_raster(content, name, max_pixels=max_pixels), name, digest, None)
