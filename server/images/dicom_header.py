"""What is kept of a DICOM file beside its pixels, for answers in DICOM."""

from __future__ import annotations

from io import BytesIO

from pydicom import Dataset, dcmread
from pydicom.dataelem import RawDataElement
from pydicom.uid import DeflatedExplicitVRLittleEndian

from server.images.decoded import DECODER_ERRORS
from server.images.dicom_frames import BULK

# Image and study information: no overlays, no curves, no pixels, nothing private.
GROUPS = frozenset({0x0008, 0x0010, 0x0012, 0x0018, 0x0020, 0x0022, 0x0028, 0x0040, 0x0048, 0x5200})
# Of group 28, what describes pixels and their compression; not palettes, tables and profiles.
PIXELS_SAID = (range(0x0028_0000, 0x0028_1100), range(0x0028_2110, 0x0028_2120))
MAX_BYTES = 256 * 1024


def header_of(dataset: Dataset, content: bytes) -> bytes | None:
    """The elements that say whose image this is, where it lies and what it shows.

    Bytes, because pydicom's datasets change while they are read, and several threads may ask.

    Args:
        dataset: A file's elements, its pixels not looked at yet.
        content: The file.

    Returns:
        What stands before the pixels, as it is in the file; of a large or deflated file only the
        elements of :data:`GROUPS`; None if even they are larger than 256 KiB or cannot be written.
    """
    pixels = next(dataset.get_item(name) for name in BULK if name in dataset)
    deflated = dataset.file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian
    if not deflated and isinstance(pixels, RawDataElement) and pixels.value_tell <= MAX_BYTES:
        return content[: pixels.value_tell]
    return _chosen(dataset)


def read_header(header: bytes) -> Dataset:
    """The elements that :func:`header_of` kept."""
    dataset: Dataset = dcmread(BytesIO(header), force=True, stop_before_pixels=True)
    return dataset


def _chosen(dataset: Dataset) -> bytes | None:
    kept = Dataset({tag: dataset.get_item(tag) for tag in filter(_is_kept, dataset.keys())})
    kept.set_original_encoding(*dataset.original_encoding, dataset.original_character_set)
    out = BytesIO()
    try:
        # Elements not looked at yet are written as they were read, in the file's own byte order.
        kept.save_as(out, implicit_vr=False, little_endian=dataset.original_encoding[1] is not False)
    except DECODER_ERRORS:
        return None
    return out.getvalue() if out.tell() <= MAX_BYTES else None


def _is_kept(tag: int) -> bool:
    group = tag >> 16
    return group in GROUPS and (group != 0x0028 or any(tag in said for said in PIXELS_SAID))
