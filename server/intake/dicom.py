"""DICOM images on their way in: rendered as ``/segment`` shows them, kept without whose they are."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image
from pydicom import Dataset, dcmread

from server.errors import UnreadableImageError
from server.images import read_images
from server.images.decoded import DECODER_ERRORS, DecodedImage, first_line
from server.inputs import ImageLimits
from server.intake.burnt_in import burnt_in_flags
from server.intake.deidentify import deidentify, patient_key
from server.intake.pseudonyms import Pseudonyms


@dataclass(frozen=True)
class DicomSent:
    """A DICOM image, ready to be kept.

    Attributes:
        frames: Its frames.
        source: The file without whose it is; it shows the same frames.
        uid: The SOP instance it was, which Segmentations refer to.
        group: What groups it with other images of the patient.
        flags: What a person should look at.
    """

    frames: list[DecodedImage]
    source: bytes
    uid: str
    group: str | None
    flags: tuple[str, ...]

    def frame_of(self, image: DecodedImage) -> int | None:
        """Which frame an image is; None of a file of one."""
        return image.frame if len(self.frames) > 1 else None


def header_only(content: bytes) -> Dataset:
    """The elements of a file before its pixels.

    Raises:
        UnreadableImageError: It is damaged.
    """
    try:
        return dcmread(BytesIO(content), force=True, stop_before_pixels=True)
    except DECODER_ERRORS as error:
        raise UnreadableImageError(f"the DICOM file cannot be read ({first_line(error)})") from error


def take_dicom(content: bytes, pseudonyms: Pseudonyms, limits: ImageLimits) -> DicomSent:
    """Decode and de-identify a DICOM image.

    Args:
        content: The file.
        pseudonyms: Give UIDs and groups.
        limits: What is taken.

    Raises:
        UnreadableImageError: It is no image, damaged, of a transfer syntax that is not read, or cannot be
            kept without whose it is so that it still shows the same.
        ImageTooLargeError: It has more pixels or frames than are taken.
    """
    frames = _frames(content, limits)
    try:
        header = header_only(content)
        source = deidentify(content, pseudonyms)
        uid, group = str(header.get("SOPInstanceUID") or ""), patient_key(header, pseudonyms)
        flags = burnt_in_flags(header)
    except DECODER_ERRORS as error:
        raise UnreadableImageError(
            f"the DICOM file cannot be de-identified ({first_line(error)}): an element is damaged"
        ) from error
    # What is kept is what was seen: an element that the picture needs and the profile drops would show here.
    again = _frames(source, limits)
    if len(again) != len(frames) or not all(
        np.array_equal(one.pixels, other.pixels) for one, other in zip(frames, again, strict=True)
    ):
        raise UnreadableImageError(
            "the DICOM file shows another picture once it is de-identified; send what it shows as PNG"
        )
    return DicomSent(frames, source, uid, group, flags)


def _frames(content: bytes, limits: ImageLimits) -> list[DecodedImage]:
    return read_images(
        content,
        max_pixels=limits.max_pixels,
        max_frames=limits.max_images,
        max_total_pixels=limits.max_total_pixels,
    )


def rendition(image: DecodedImage) -> bytes:
    """A frame as a PNG file."""
    grey = (image.pixels == image.pixels[..., :1]).all()
    out = BytesIO()
    Image.fromarray(image.pixels[..., 0] if grey else image.pixels).save(out, "PNG")
    return out.getvalue()
