"""Single-frame DICOM images, read by pydicom."""

from __future__ import annotations

import zlib
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset
from pydicom.pixels import pixel_array
from pydicom.uid import (
    AllTransferSyntaxes,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from server.errors import ImageTooLargeError, UnreadableImageError
from server.images.codestream import frame_size
from server.images.decoded import DECODER_ERRORS, check_size, first_line
from server.images.dicom_values import to_rgb
from server.images.spacing import pixel_spacing

PREAMBLE, MARK, META_GROUP = 128, b"DICM", 2
# A file without preamble starts with an element of group 2 or 8, in little endian.
BARE_STARTS = (b"\x02\x00\x00\x00", b"\x08\x00")
# Elements beside the pixels; a header many times as large is an attack or a mistake.
HEADER_ALLOWANCE = 64 * 1024 * 1024
MAX_SAMPLE_BYTES = 16
ACCEPTED_SYNTAXES = (
    "accepted are uncompressed, deflated, RLE, JPEG (8 bit or lossless), JPEG-LS and JPEG 2000"
)


def looks_like_dicom(content: bytes) -> bool:
    """Whether the bytes carry DICOM's mark, or start as files without it do."""
    return content[PREAMBLE : PREAMBLE + 4] == MARK or content.startswith(BARE_STARTS)


def read_dicom(content: bytes, *, max_pixels: int) -> tuple[NDArray[np.uint8], tuple[float, float] | None]:
    """Decode a single-frame image as a viewer would first show it.

    Args:
        content: The file.
        max_pixels: Largest Rows times Columns taken; checked before decoding.

    Returns:
        RGB [H, W, 3] uint8, and the millimetres between rows and columns where the file says.

    Raises:
        ImageTooLargeError: The header says more pixels than that.
        UnreadableImageError: Damaged, cut short, without pixels, of several frames, or
            compressed in a way that is not supported.
    """
    try:
        _check_deflated(content, max_pixels)
        dataset = dcmread(BytesIO(content), force=True)
        _check_header(dataset, max_pixels)
        return to_rgb(_decode(dataset), dataset), pixel_spacing(dataset)
    except (InvalidDicomError, *DECODER_ERRORS) as error:
        raise UnreadableImageError(
            f"the file begins like DICOM but cannot be decoded ({first_line(error)}): damaged or cut short"
        ) from error


def _decode(dataset: Dataset) -> NDArray[np.generic]:
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        values: NDArray[np.generic] = pixel_array(dataset)
    except (NotImplementedError, RuntimeError) as error:
        raise UnreadableImageError(
            f"no decoder could read the DICOM file's pixels, of transfer syntax {syntax.name} "
            f"({first_line(error)}); {ACCEPTED_SYNTAXES}"
        ) from error
    return values


def _check_header(dataset: Dataset, max_pixels: int) -> None:
    if not any(name in dataset for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        kind = dataset.get("SOPClassUID")
        what = getattr(kind, "name", None) or "no SOP class"
        raise UnreadableImageError(
            f"the DICOM file has no pixel data ({what}): not an image, or cut short; "
            "a single-frame image is accepted"
        )
    missing = [name for name in ("Rows", "Columns", "PhotometricInterpretation") if not dataset.get(name)]
    if missing:
        raise UnreadableImageError(
            f"the DICOM file lacks {', '.join(missing)}; a single-frame image has them"
        )
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames != 1:
        raise UnreadableImageError(f"the DICOM file has {frames} frames; single-frame DICOM is accepted")
    if "TransferSyntaxUID" not in dataset.file_meta:
        # A file without its meta information says nothing of compression, so there is none.
        implicit, _ = dataset.original_encoding
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax not in AllTransferSyntaxes:
        raise UnreadableImageError(f"no transfer syntax {str(syntax)[:64]!r} is known; {ACCEPTED_SYNTAXES}")
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    check_size(rows, columns, max_pixels)
    if syntax.is_encapsulated:
        _check_codestream(dataset.PixelData, rows, columns, max_pixels)


def _check_codestream(pixel_data: bytes, rows: int, columns: int, max_pixels: int) -> None:
    size = frame_size(pixel_data)
    if size is None:
        return
    check_size(*size, max_pixels)
    if size != (rows, columns):
        raise UnreadableImageError(
            f"the DICOM file says {columns} x {rows} pixels, but its compressed image {size[1]} x {size[0]}"
        )


def _check_deflated(content: bytes, max_pixels: int) -> None:
    """Refuse a deflated dataset that would inflate to more than an image can need."""
    data = BytesIO(content)
    data.seek(PREAMBLE + 4 if content[PREAMBLE : PREAMBLE + 4] == MARK else 0)
    # As pydicom finds the end of the meta information: by its groups, whatever length it claims.
    meta = read_dataset(data, False, True, stop_when=lambda tag, vr, length: tag >> 16 != META_GROUP)
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    bound = HEADER_ALLOWANCE + max_pixels * MAX_SAMPLE_BYTES
    size, rest = 0, data.read()
    while rest and not inflate.eof:
        size += len(inflate.decompress(rest, 1024 * 1024))
        rest = inflate.unconsumed_tail
        if size > bound:
            raise ImageTooLargeError(
                f"the deflated DICOM file holds more than {bound:,} bytes; "
                f"at most {max_pixels:,} pixels are accepted"
            )
