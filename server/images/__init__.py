"""Uploads to pixels: one function for every format."""

from __future__ import annotations

import hashlib

from server.errors import UnreadableImageError
from server.images import raster
from server.images.decoded import ACCEPTED, DecodedImage
from server.images.dicom import looks_like_dicom, read_dicom

__all__ = ["FORMATS", "DecodedImage", "read_image", "read_images"]

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
    (image,) = read_images(content, max_pixels=max_pixels, max_frames=1, max_total_pixels=max_pixels)
    return image


def read_images(
    content: bytes, *, max_pixels: int, max_frames: int, max_total_pixels: int
) -> list[DecodedImage]:
    """Decode every frame of an upload, told apart by its content.

    Several frames are the pages of a TIFF file and the frames of a DICOM one; animated PNG and
    WebP are refused.

    Args:
        content: The file's bytes.
        max_pixels: Largest width times height of a frame.
        max_frames: Most frames; with 1, a file of several is refused as unreadable.
        max_total_pixels: Most pixels in all frames together.

    Returns:
        The frames in the file's order, at least one; their sizes may differ.

    Raises:
        UnreadableImageError: Not an image of an accepted format, or damaged.
        ImageTooLargeError: More pixels or frames than are taken, by its header.
    """
    if not content:
        raise UnreadableImageError(f"the image file is empty (0 bytes); {ACCEPTED}")
    digest = hashlib.sha256(content).hexdigest()
    spacing = header = None
    if looks_like_dicom(content):
        name = "DICOM"
        dicom = read_dicom(
            content, max_pixels=max_pixels, max_frames=max_frames, max_total_pixels=max_total_pixels
        )
        frames, spacing = dicom.frames, dicom.spacing
        header = dicom.header if len(frames) == 1 else None
    else:
        sniffed = raster.sniff(content)
        if sniffed is None:
            raise UnreadableImageError(
                f"the file of {len(content):,} bytes is not an image this service reads; {ACCEPTED}"
            )
        name = sniffed
        frames = raster.read_frames(
            content, name, max_pixels=max_pixels, max_frames=max_frames, max_total_pixels=max_total_pixels
        )
    count = len(frames)
    return [DecodedImage(pixels, name, digest, spacing, i, count, header) for i, pixels in enumerate(frames)]
