"""The image that was segmented, as a DICOM Segmentation refers to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from highdicom import PatientSexValues, PixelMeasuresSequence
from pydicom import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.valuerep import DA, TM

from models_store.errors import BadInputError
from server.images import DecodedImage
from server.images.decoded import DECODER_ERRORS, first_line
from server.images.dicom_header import read_header

# Nothing can refer to an image that lacks one of these.
NAMING = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
# Elements that must be there but may be empty (type 2): what is unreadable in the file is left empty.
TYPE_2: Mapping[str, Callable[[str], object] | None] = {
    "PatientID": None,
    "PatientName": None,
    "PatientBirthDate": DA,
    "PatientSex": PatientSexValues,
    "AccessionNumber": None,
    "StudyID": None,
    "StudyDate": DA,
    "StudyTime": TM,
}
# How many numbers say where a slice lies in the patient.
PLACE = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2}
# Stands where highdicom insists on a frame of reference and the file names none; never written.
NO_FRAME = "2.25.0"
# A slide's own coordinates, and a tile's place in a whole slide.
SLIDE = (
    "ImageOrientationSlide",
    "ImageCenterPointCoordinatesSequence",
    "TotalPixelMatrixRows",
    "TotalPixelMatrixColumns",
)


def read_source(image: DecodedImage) -> Dataset:
    """What a Segmentation says of its source.

    An image that says where in the patient it lies keeps that. Every other (ultrasound,
    photographs, slides) keeps only its pixels' rows and columns: the Segmentation then says that
    its pixels are the source's, and nothing of millimetres in a patient.

    Args:
        image: A single-frame DICOM image.

    Returns:
        Its elements without pixels, with everything there that must be.

    Raises:
        BadInputError: It is no such image, or it does not say which image it is.
    """
    if image.format != "DICOM" or image.frames != 1:
        what = image.format if image.format != "DICOM" else f"DICOM of {image.frames} frames"
        raise BadInputError(
            f"output dicom_seg needs a single-frame DICOM image to refer to; this one is {what}"
        )
    if image.header is None:
        raise BadInputError(
            "the DICOM file's elements beside its pixels are damaged or larger than output dicom_seg takes"
        )
    try:
        return _settled(image.header)
    except DECODER_ERRORS as error:
        raise BadInputError(
            f"the DICOM file's elements beside its pixels cannot be read ({first_line(error)}); "
            "output dicom_seg repeats them"
        ) from error


def _settled(header: bytes) -> Dataset:
    source = read_header(header)
    source.decode()
    missing = [name for name in NAMING if not source.get(name)]
    if missing:
        raise BadInputError(
            f"the DICOM file lacks {', '.join(missing)}: no DICOM Segmentation can refer to it"
        )
    for name, check in TYPE_2.items():
        if name not in source or not _is_valid(source.get(name), check):
            setattr(source, name, "")
    for name in SLIDE:
        source.pop(name, None)
    _share_groups(source)
    _settle_place(source)
    return source


def _is_valid(value: object, check: Callable[[str], object] | None) -> bool:
    if check is None or value in (None, ""):
        return value is not None
    try:
        check(str(value))
    except ValueError:
        return False
    return True


def _share_groups(source: Dataset) -> None:
    """Put what the only frame of a multi-frame class says where highdicom looks for it."""
    shared = (source.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    frame = (source.get("PerFrameFunctionalGroupsSequence") or [Dataset()])[0]
    for name in ("PixelMeasuresSequence", "PlaneOrientationSequence"):
        if name not in shared and name in frame:
            shared[name] = frame[name]
    source.NumberOfFrames = 1
    source.SharedFunctionalGroupsSequence = Sequence([shared])


def _settle_place(source: Dataset) -> None:
    """Leave out a place in the patient, or a spacing, that is said by halves.

    Readers, highdicom among them, take no spacing without a thickness, and none is made up here.
    """
    shared = source.SharedFunctionalGroupsSequence[0]
    said = (shared.get("PixelMeasuresSequence") or [source])[0]
    spacing, thickness = said.get("PixelSpacing"), said.get("SliceThickness")
    measured = bool(_count(spacing) == PLACE["PixelSpacing"] and thickness)
    if not measured:
        source.pop("PixelSpacing", None)
        # An item of nothing, which the Segmentation is rid of again.
        shared.PixelMeasuresSequence = Sequence([Dataset()])
    elif said is source:
        shared.PixelMeasuresSequence = PixelMeasuresSequence(spacing, thickness)
    halves = [name for name, count in PLACE.items() if _count(source.get(name)) != count]
    in_groups = "PlaneOrientationSequence" in shared
    if not (measured and source.get("FrameOfReferenceUID")) or (halves and not in_groups):
        source.pop("ImagePositionPatient", None)
        source.pop("PerFrameFunctionalGroupsSequence", None)
        shared.pop("PlanePositionSequence", None)
    if not source.get("FrameOfReferenceUID"):
        source.FrameOfReferenceUID = NO_FRAME


def _count(value: object) -> int:
    return len(value) if isinstance(value, MultiValue) else 0
