"""Masks from DICOM Segmentations, with phrases from their codes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import SegmentationStorage

from models_store.errors import BadInputError
from server.dicom_seg.codes import SCHEME, label_of
from server.dicom_seg.writing import PRODUCT
from server.errors import UnreadableImageError
from server.images.decoded import DECODER_ERRORS, first_line
from server.images.dicom_checks import check_deflated

# Label Map Segmentation Storage, which is newer than the library's names.
LABEL_MAPS = "1.2.840.10008.5.1.4.1.1.66.7"
# Of all segments and frames together; at a bit each, or a byte where it is fractional.
MOST_VALUES = 2_000_000_000
HALF = 0.5


@dataclass(frozen=True)
class Segment:
    """One segment on one image.

    Attributes:
        phrase: What it shows: the label that the service has for its codes, else its own.
        mask: [H, W] on the image's own pixels.
    """

    phrase: str
    mask: NDArray[np.bool_]


def is_segmentation(header: Dataset) -> bool:
    """Whether a DICOM file is a Segmentation."""
    return header.get("SOPClassUID") in (SegmentationStorage, LABEL_MAPS)


class SegmentationFile:
    """A Segmentation that was sent.

    Args:
        content: The file.
        max_pixels: Largest width times height of a frame.

    Raises:
        UnreadableImageError: It is damaged, or larger than is taken.
    """

    def __init__(self, content: bytes, max_pixels: int):
        try:
            check_deflated(content, max_pixels)
            self._seg = hd.seg.segread(BytesIO(content))
            values = self._seg.number_of_frames * self._seg.Rows * self._seg.Columns
            self._sources = {str(uid) for _, _, uid in self._seg.get_source_image_uids()}
        except DECODER_ERRORS as error:
            raise UnreadableImageError(
                f"the DICOM Segmentation cannot be read ({first_line(error)})"
            ) from error
        if values > MOST_VALUES:
            raise UnreadableImageError(f"the DICOM Segmentation has {values:,} values; too many are refused")

    @property
    def count(self) -> int:
        """How many segments it has."""
        return int(self._seg.number_of_segments)

    @property
    def sources(self) -> set[str]:
        """UIDs of the images it is of."""
        return self._sources

    def segments(
        self, uids: Collection[str], size: tuple[int, int], frame: int | None, *, empty: bool
    ) -> list[Segment]:
        """Its segments on one image.

        Args:
            uids: UIDs the image may be called by.
            size: Width and height of the image.
            frame: Which frame of a multi-frame image, counted from 0.
            empty: Whether segments without a pixel there are told, too.

        Raises:
            BadInputError: It is of other images, or does not lie on the image's pixels.
            UnreadableImageError: It is damaged.
        """
        uid = next((uid for uid in uids if uid in self._sources), None)
        if uid is None:
            raise BadInputError("the DICOM Segmentation refers to other images than this one")
        own = int(self._seg.Columns), int(self._seg.Rows)
        if own != size:
            raise BadInputError(
                f"the segmentation is {own[0]}x{own[1]}, but the image is {size[0]}x{size[1]}"
            )
        try:
            pixels = self._pixels(uid, frame)
            numbers = self._seg.segment_numbers
            found = [
                Segment(self._phrase(number), pixels[..., index] >= HALF)
                for index, number in enumerate(numbers)
            ]
        except DECODER_ERRORS as error:
            raise UnreadableImageError(
                f"the DICOM Segmentation cannot be read ({first_line(error)})"
            ) from error
        phrases = [segment.phrase for segment in found]
        if len(set(phrases)) < len(phrases):
            raise BadInputError(f"two segments are of one thing: {', '.join(sorted(phrases))[:300]}")
        return [segment for segment in found if empty or segment.mask.any()]

    def _pixels(self, uid: str, frame: int | None) -> NDArray[Any]:
        if frame is None:
            pixels = self._seg.get_pixels_by_source_instance(
                [uid], ignore_spatial_locations=True, assert_missing_frames_are_empty=True
            )
        else:
            pixels = self._seg.get_pixels_by_source_frame(
                uid, [frame + 1], ignore_spatial_locations=True, assert_missing_frames_are_empty=True
            )
        return np.asarray(pixels[0])

    def _phrase(self, number: int) -> str:
        said = self._seg.get_segment_description(number)
        if self._seg.get("Manufacturer") == PRODUCT and said.get("SegmentDescription"):
            # Of an export, which says there what the label was.
            return str(said.SegmentDescription)
        kind = said.SegmentedPropertyTypeCodeSequence[0]
        type_, region, side = (
            _code(item)
            for item in (
                kind,
                _first(said, "AnatomicRegionSequence"),
                _first(kind, "SegmentedPropertyTypeModifierCodeSequence"),
            )
        )
        known = None if type_ is None else label_of(type_, region, side)
        return (
            known or str(said.get("SegmentLabel") or "").strip() or str(kind.get("CodeMeaning") or "segment")
        )


def _first(item: Dataset, keyword: str) -> Dataset | None:
    items = item.get(keyword)
    return items[0] if items else None


def _code(item: Dataset | None) -> str | None:
    """The code of an item of a code sequence, if it is SNOMED CT's."""
    if item is None or item.get("CodingSchemeDesignator") != SCHEME:
        return None
    return str(item.get("CodeValue") or "")
