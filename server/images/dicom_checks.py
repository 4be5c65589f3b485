"""What a DICOM file is refused for before a decoder sees it."""

from __future__ import annotations

import zlib
from io import BytesIO

from pydicom import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import (
    AllTransferSyntaxes,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from server.errors import ImageTooLargeError, UnreadableImageError
from server.images.codestream import Codestream, read_codestream
from server.images.decoded import check_frames, check_size

PREAMBLE, MARK, META_GROUP = 128, b"DICM", 2
# Elements beside the pixels; a header many times as large is an attack or a mistake.
HEADER_ALLOWANCE = 64 * 1024 * 1024
MAX_SAMPLE_BYTES = 16
SAMPLES = (1, 3)
ACCEPTED_SYNTAXES = (
    "accepted are uncompressed, deflated, RLE, JPEG (8 bit, 12 bit grey or lossless), JPEG-LS and JPEG 2000"
)


def check_header(dataset: Dataset, max_pixels: int) -> None:
    """Raise where there is no image, or more of it than is taken.

    A file that names no transfer syntax gets the one it is written in.
    """
    if not any(name in dataset for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        kind = dataset.get("SOPClassUID")
        what = getattr(kind, "name", None) or "no SOP class"
        raise UnreadableImageError(
            f"the DICOM file has no pixel data ({what}): not an image, or cut short; an image is accepted"
        )
    missing = [name for name in ("Rows", "Columns", "PhotometricInterpretation") if not dataset.get(name)]
    if missing:
        raise UnreadableImageError(f"the DICOM file lacks {', '.join(missing)}; an image has them")
    samples = int(dataset.get("SamplesPerPixel") or 1)
    if samples not in SAMPLES:
        raise UnreadableImageError(f"the DICOM file has {samples} samples per pixel; 1 or 3 are accepted")
    if "TransferSyntaxUID" not in dataset.file_meta:
        # A file without its meta information says nothing of compression, so there is none.
        implicit, _ = dataset.original_encoding
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax not in AllTransferSyntaxes:
        raise UnreadableImageError(f"no transfer syntax {str(syntax)[:64]!r} is known; {ACCEPTED_SYNTAXES}")
    check_size(int(dataset.Rows), int(dataset.Columns), max_pixels)


def check_frame_count(dataset: Dataset, *, max_frames: int, max_total_pixels: int) -> int:
    """How many frames the header says, if so many are taken."""
    count = int(dataset.get("NumberOfFrames") or 1)
    if count < 1:
        raise UnreadableImageError(f"the DICOM file says it has {count} frames")
    if count > 1 and max_frames == 1:
        raise UnreadableImageError(f"the DICOM file has {count} frames; single-frame DICOM is accepted")
    pixels = count * int(dataset.Rows) * int(dataset.Columns)
    check_frames(count, pixels, max_frames=max_frames, max_total_pixels=max_total_pixels)
    return count


def check_codestream(frame: bytes, dataset: Dataset, max_pixels: int) -> Codestream | None:
    """What a compressed frame says of itself, if it agrees with the file's header.

    Returns:
        None where it says nothing (RLE).
    """
    stream = read_codestream(frame)
    if stream is None:
        return None
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    check_size(stream.rows, stream.columns, max_pixels)
    if (stream.rows, stream.columns) != (rows, columns):
        raise UnreadableImageError(
            f"the DICOM file says {columns} x {rows} pixels, "
            f"but its compressed image {stream.columns} x {stream.rows}"
        )
    samples = int(dataset.get("SamplesPerPixel") or 1)
    if stream.samples != samples:
        raise UnreadableImageError(
            f"the DICOM file says {samples} samples per pixel, but its compressed image {stream.samples}"
        )
    return stream


def check_deflated(content: bytes, max_pixels: int) -> None:
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
