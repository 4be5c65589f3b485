"""DICOM images of one or several frames, read by pydicom."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.pixels import pixel_array
from pydicom.uid import JPEGExtended12Bit

from server.errors import UnreadableImageError
from server.images import jpeg12
from server.images.decoded import DECODER_ERRORS, first_line
from server.images.dicom_checks import (
    ACCEPTED_SYNTAXES,
    MARK,
    PREAMBLE,
    check_codestream,
    check_deflated,
    check_frame_count,
    check_header,
)
from server.images.dicom_frames import compressed_frames, frame_header, holding
from server.images.dicom_header import header_of
from server.images.dicom_values import to_rgb
from server.images.spacing import pixel_spacing

# A file without preamble starts with an element of group 2 or 8, in little endian.
BARE_STARTS = (b"\x02\x00\x00\x00", b"\x08\x00")


@dataclass(frozen=True)
class DicomImage:
    """The frames of one DICOM file.

    Attributes:
        frames: RGB [H, W, 3] uint8 each, rows and columns as they are stored.
        spacing: Millimetres between rows and between columns, where the file says.
        header: The elements beside the pixels, as a DICOM file of their own
            (:func:`server.images.dicom_header.header_of`).
    """

    frames: list[NDArray[np.uint8]]
    spacing: tuple[float, float] | None
    header: bytes | None


def looks_like_dicom(content: bytes) -> bool:
    """Whether the bytes carry DICOM's mark, or start as files without it do."""
    return content[PREAMBLE : PREAMBLE + 4] == MARK or content.startswith(BARE_STARTS)


def read_dicom(content: bytes, *, max_pixels: int, max_frames: int, max_total_pixels: int) -> DicomImage:
    """Decode an image's frames, one after another, as a viewer would first show each.

    Args:
        content: The file.
        max_pixels: Largest Rows times Columns taken; checked before decoding.
        max_frames: Most frames; with 1, a file of several is refused as unreadable.
        max_total_pixels: Most pixels in all frames together; checked before decoding.

    Raises:
        ImageTooLargeError: The header says more pixels or frames than that.
        UnreadableImageError: Damaged, cut short, without pixels, or compressed in a way that is
            not supported.
    """
    try:
        check_deflated(content, max_pixels)
        dataset = dcmread(BytesIO(content), force=True)
        check_header(dataset, max_pixels)
        count = check_frame_count(dataset, max_frames=max_frames, max_total_pixels=max_total_pixels)
        header, first = header_of(dataset, content), frame_header(dataset, 0)
        frames = [
            to_rgb(raw, frame_header(dataset, index) if index else first)
            for index, raw in enumerate(_decoded(dataset, count, max_pixels))
        ]
        return DicomImage(frames, pixel_spacing(first), header)
    except DECODER_ERRORS as error:
        raise UnreadableImageError(
            f"the file begins like DICOM but cannot be decoded ({first_line(error)}): damaged or cut short"
        ) from error


def _decoded(dataset: Dataset, count: int, max_pixels: int) -> Iterator[NDArray[np.generic]]:
    """Stored values of each frame, [H, W] or [H, W, 3]; YBR becomes RGB."""
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        if not syntax.is_encapsulated:
            if count > 1 and dataset.get("BitsAllocated") == 1:
                # Such frames need not begin at a byte, which pydicom only heeds when it reads all.
                yield from pixel_array(dataset)
                return
            for index in range(count):
                yield pixel_array(dataset, index=index)
            return
        for frame in compressed_frames(dataset, count):
            stream = check_codestream(frame, dataset, max_pixels)
            if syntax == JPEGExtended12Bit and stream is not None and stream.bits == jpeg12.BITS:
                yield jpeg12.decode(frame, dataset)
            else:
                yield pixel_array(holding(frame_header(dataset, 0), frame))
    except (NotImplementedError, RuntimeError) as error:
        raise UnreadableImageError(
            f"no decoder could read the DICOM file's pixels, of transfer syntax {syntax.name} "
            f"({first_line(error)}); {ACCEPTED_SYNTAXES}"
        ) from error
