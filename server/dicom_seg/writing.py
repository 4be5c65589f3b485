"""A DICOM Segmentation of one image, one bit per pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from io import BytesIO

import highdicom as hd
import numpy as np
from highdicom.color import CIELabColor
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
from highdicom.sr import CodedConcept
from numpy.typing import NDArray
from pydicom.uid import ExplicitVRLittleEndian

from models_store.errors import BadInputError
from server.dicom_seg.codes import LabelCode
from server.dicom_seg.source import NO_FRAME, read_source
from server.images import DecodedImage
from server.images.decoded import DECODER_ERRORS, first_line
from server.render import colour_of

PRODUCT, DISTRIBUTION = "TuneVLSeg Studio", "tunevlseg-studio"
CONTENT_LABEL = "SEGMENTATION"
# Far above what modalities count to, so that the masks come after the images they are of.
SERIES_NUMBER = 9001
# Long strings (LO) hold so many characters, and a backslash would part them.
LONG_STRING = 64
UTF_8 = "ISO_IR 192"


@dataclass(frozen=True)
class Maker:
    """What made the masks.

    Attributes:
        model: Its name.
        serial: What tells it from others of that name.
    """

    model: str
    serial: str


def segment(
    number: int,
    label: str,
    code: LabelCode,
    algorithm: hd.AlgorithmIdentificationSequence | None,
) -> SegmentDescription:
    """What a segment is of.

    Args:
        number: Counted from 1.
        label: What people call it.
        code: What it is called in a coding scheme.
        algorithm: What drew it; None means a person.
    """
    kinds = SegmentAlgorithmTypeValues
    described = SegmentDescription(
        segment_number=number,
        segment_label=long_string(label),
        segmented_property_category=code.category,
        segmented_property_type=code.type,
        algorithm_type=kinds.MANUAL if algorithm is None else kinds.AUTOMATIC,
        algorithm_identification=algorithm,
        anatomic_regions=None if code.region is None else [code.region],
        display_color=CIELabColor.from_rgb(*colour_of(number - 1)),
    )
    if code.side is not None:
        # The standard's place for it; highdicom has no argument for it.
        modifiers = [CodedConcept.from_code(code.side)]
        described.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = modifiers
    return described


def written(
    image: DecodedImage,
    masks: Sequence[NDArray[np.bool_]],
    segments: Sequence[SegmentDescription],
    *,
    maker: Maker,
    description: str,
    content: str,
    uids: tuple[str, str] | None = None,
) -> bytes:
    """Write masks as a BINARY Segmentation in a series of its own, in the image's study.

    Every segment has one frame, an empty one too: what was looked for and not found is an answer.

    Args:
        image: The single-frame DICOM image the masks are of.
        masks: [H, W] each, on the image's own pixels.
        segments: What each mask is of.
        maker: What made them.
        description: Of the series.
        content: Of the masks.
        uids: Of the series and of the instance; None makes new ones.

    Returns:
        A DICOM file, explicit little endian.

    Raises:
        BadInputError: No Segmentation can be made of this image.
    """
    source = read_source(image)
    name = source.PatientName
    # The library warns of names of one part, and quotes them, where logs must not have them.
    source.PatientName = ""
    series, instance = uids or (hd.UID(), hd.UID())
    try:
        seg = Segmentation(
            source_images=[source],
            pixel_array=np.stack(masks, axis=-1)[None].astype(np.uint8),
            segmentation_type=SegmentationTypeValues.BINARY,
            segment_descriptions=list(segments),
            series_instance_uid=series,
            series_number=SERIES_NUMBER,
            sop_instance_uid=instance,
            instance_number=1,
            manufacturer=PRODUCT,
            manufacturer_model_name=long_string(maker.model),
            software_versions=version(DISTRIBUTION),
            device_serial_number=long_string(maker.serial),
            content_label=CONTENT_LABEL,
            content_description=content,
            series_description=long_string(description),
            transfer_syntax_uid=ExplicitVRLittleEndian,
            omit_empty_frames=False,
            specific_character_set=UTF_8,
        )
        seg.PatientName = name
        # Its own packing loses pixels of frames of fewer than eight.
        seg.PixelData = _packed(masks)
        shared = seg.SharedFunctionalGroupsSequence[0]
        if "PixelMeasuresSequence" in shared and not shared.PixelMeasuresSequence[0]:
            del shared.PixelMeasuresSequence
        if seg.FrameOfReferenceUID == NO_FRAME:
            del seg.FrameOfReferenceUID, seg.PositionReferenceIndicator
        out = BytesIO()
        seg.save_as(out)
    except DECODER_ERRORS as error:
        kind = getattr(source.SOPClassUID, "name", "file")
        raise BadInputError(
            f"no DICOM Segmentation can be made of this {kind} ({first_line(error)})"
        ) from error
    return out.getvalue()


def long_string(text: str) -> str:
    """A text as an element of the kind LO holds it."""
    return text.replace("\\", "/")[:LONG_STRING]


def _packed(masks: Sequence[NDArray[np.bool_]]) -> bytes:
    """One bit per pixel, frame after frame with no gap between them: PS3.5 8.1.1."""
    data = np.packbits(np.stack(masks).ravel(), bitorder="little").tobytes()
    return data + b"\0" * (len(data) % 2)
