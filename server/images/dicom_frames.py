"""The frames of a multi-frame DICOM file, each with what the header says of it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from pydicom import DataElement, Dataset, FileMetaDataset
from pydicom.datadict import dictionary_VR
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from server.errors import UnreadableImageError
from server.images.packbits import unpack

BULK = frozenset({"PixelData", "FloatPixelData", "DoubleFloatPixelData"})
PIXEL_GROUP = 0x7FE0
SHARED, PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
# Functional groups that say how a frame is shown: PS3.3 C.7.6.16.2.1, .9 and .10.
SHOWING = ("PixelMeasuresSequence", "PixelValueTransformationSequence", "FrameVOILUTSequence")
ITEM = b"\xfe\xff\x00\xe0"
# A frame of 64 MB in fragments of 4 KB has 16,000; each costs time before anything is decoded.
MAX_FRAGMENTS = 100_000


def frame_header(dataset: Dataset, index: int) -> Dataset:
    """What the header says of one frame, as a single-frame image would say it.

    What a functional group says stands at the top level, the frame's own before the shared one.

    Args:
        dataset: A file's elements.
        index: Which frame, from 0.

    Returns:
        The elements without pixels; those of ``dataset`` are shared, not copied.
    """
    header = Dataset({tag: dataset.get_item(tag) for tag in dataset.keys() if tag >> 16 != PIXEL_GROUP})  # noqa: SIM118
    header.set_original_encoding(*dataset.original_encoding, dataset.original_character_set)
    header.file_meta = dataset.file_meta
    replace(header, "NumberOfFrames", 1)
    for name, which in ((SHARED, 0), (PER_FRAME, index)):
        items = dataset.get(name) or []
        if which < len(items):
            for group in SHOWING:
                for item in (items[which].get(group) or [])[:1]:
                    header.update({element.tag: element for element in item})
    return header


def compressed_frames(dataset: Dataset, count: int) -> Iterator[bytes]:
    """The compressed frames in their order, one at a time, in one pass over the file.

    Raises:
        UnreadableImageError: There are fewer than the header says, or they are cut in more
            fragments than any honest file's.
    """
    data = dataset.PixelData
    if data.count(ITEM) > MAX_FRAGMENTS + count:
        raise UnreadableImageError(f"the DICOM file's pixels are in more than {MAX_FRAGMENTS:,} fragments")
    offsets = None
    if "ExtendedOffsetTable" in dataset and "ExtendedOffsetTableLengths" in dataset:
        offsets = (dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths)
    found = 0
    for frame in islice(generate_frames(data, number_of_frames=count, extended_offsets=offsets), count):
        found += 1
        yield frame
    if found < count:
        raise UnreadableImageError(
            f"the DICOM file says it has {count} frames, but holds {found}: damaged or cut short"
        )


def holding(header: Dataset, frame: bytes) -> Dataset:
    """A single-frame image of one compressed frame; ``header`` itself gets its pixels.

    Run lengths are decoded here, other compression is left to pydicom.
    """
    if header.file_meta.TransferSyntaxUID == RLELossless:
        data = unpack(frame, header)
        header.PixelData = data + b"\0" * (len(data) % 2)
        header["PixelData"].VR = "OW"
        replace(header, "PlanarConfiguration", 1)
        if header.PhotometricInterpretation == "YBR_FULL_422":
            # Run lengths hold every sample.
            replace(header, "PhotometricInterpretation", "YBR_FULL")
        header.file_meta = FileMetaDataset()
        header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        return header
    header.PixelData = encapsulate([frame])
    header["PixelData"].VR = "OB"
    return header


def replace(header: Dataset, keyword: str, value: object) -> None:
    """Give an element a value where the element itself is another dataset's too."""
    header[keyword] = DataElement(keyword, dictionary_VR(keyword), value)
