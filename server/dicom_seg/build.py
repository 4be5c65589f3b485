"""A DICOM Segmentation of one image: a segment per phrase, one bit per pixel."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from io import BytesIO

import highdicom as hd
import numpy as np
from highdicom.color import CIELabColor
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
from highdicom.sr import CodedConcept
from numpy.typing import NDArray
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

from models_store.errors import BadInputError
from server.dicom_seg.codes import LabelCode, code_of
from server.dicom_seg.source import NO_FRAME, read_source
from server.images import DecodedImage
from server.images.decoded import DECODER_ERRORS, first_line
from server.render import colour_of
from server.schemas import NOTICE, Versions

PRODUCT, DISTRIBUTION = "TuneVLSeg Studio", "tunevlseg-studio"
CONTENT_LABEL = "SEGMENTATION"
# Far above what modalities count to, so that the masks come after the images they are of.
SERIES_NUMBER = 9001
# Long strings (LO) hold so many characters, and a backslash would part them.
LONG_STRING = 64
UTF_8 = "ISO_IR 192"


def seg_bytes(
    image: DecodedImage,
    masks: Sequence[NDArray[np.bool_]],
    labels: Sequence[str],
    versions: Versions,
    *,
    phrases: Sequence[str] | None = None,
    threshold: float,
) -> bytes:
    """Write masks as a BINARY DICOM Segmentation in a series of its own, in the image's study.

    Every segment has one frame, an empty one too: what was looked for and not found is an answer.

    Args:
        image: The single-frame DICOM image the masks are of.
        masks: [H, W] each, on the image's own pixels.
        labels: What each mask shows; looked up in ``codes.toml``.
        versions: What the masks were made with.
        phrases: What was asked for, where that is not the label.
        threshold: Where probabilities were cut.

    Returns:
        A DICOM file, explicit little endian.

    Raises:
        UnmappedLabelError: A label has no code.
        BadInputError: No Segmentation can be made of this image.
    """
    found = [code_of(label) for label in labels]
    source = read_source(image)
    name = source.PatientName
    # The library warns of names of one part, and quotes them, where logs must not have them.
    source.PatientName = ""
    algorithms = [
        _algorithm(versions, phrase, threshold) for phrase in (labels if phrases is None else phrases)
    ]
    try:
        seg = Segmentation(
            source_images=[source],
            pixel_array=np.stack(masks, axis=-1)[None].astype(np.uint8),
            segmentation_type=SegmentationTypeValues.BINARY,
            segment_descriptions=[
                _segment(number, label, code, algorithm)
                for number, (label, code, algorithm) in enumerate(
                    zip(labels, found, algorithms, strict=True), start=1
                )
            ],
            series_instance_uid=hd.UID(),
            series_number=SERIES_NUMBER,
            sop_instance_uid=hd.UID(),
            instance_number=1,
            manufacturer=PRODUCT,
            manufacturer_model_name=_long_string(versions.base.name),
            software_versions=version(DISTRIBUTION),
            device_serial_number=_long_string(versions.base.digest),
            content_label=CONTENT_LABEL,
            content_description=NOTICE,
            series_description=_long_string(f"{PRODUCT}: {', '.join(labels)}"),
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


def _segment(
    number: int, label: str, code: LabelCode, algorithm: hd.AlgorithmIdentificationSequence
) -> SegmentDescription:
    segment = SegmentDescription(
        segment_number=number,
        segment_label=_long_string(label),
        segmented_property_category=code.category,
        segmented_property_type=code.type,
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
        anatomic_regions=None if code.region is None else [code.region],
        display_color=CIELabColor.from_rgb(*colour_of(number - 1)),
    )
    if code.side is not None:
        # The standard's place for it; highdicom has no argument for it.
        modifiers = [CodedConcept.from_code(code.side)]
        segment.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = modifiers
    return segment


def _algorithm(versions: Versions, phrase: str, threshold: float) -> hd.AlgorithmIdentificationSequence:
    """Which weights answered which phrase; the phrase comes last, for it may hold any character."""
    used, own = versions.checkpoint, version(DISTRIBUTION)
    checkpoint = "zero-shot" if used is None else f"{versions.dataset}/{used.version}"
    parameters = {"base": versions.base.name, "base_digest": versions.base.digest, "checkpoint": checkpoint}
    if used is not None:
        parameters |= {"checkpoint_strategy": used.strategy, "checkpoint_digest": used.digest}
    parameters |= {"threshold": f"{threshold:g}", "prompt": phrase}
    return hd.AlgorithmIdentificationSequence(
        name=_long_string(f"{PRODUCT} {versions.base.name}"),
        family=codes.cid7162.ArtificialIntelligence,
        version=_long_string(f"{own} {checkpoint}"),
        source=PRODUCT,
        parameters=parameters,
    )


def _packed(masks: Sequence[NDArray[np.bool_]]) -> bytes:
    """One bit per pixel, frame after frame with no gap between them: PS3.5 8.1.1."""
    data = np.packbits(np.stack(masks).ravel(), bitorder="little").tobytes()
    return data + b"\0" * (len(data) % 2)


def _long_string(text: str) -> str:
    return text.replace("\\", "/")[:LONG_STRING]
