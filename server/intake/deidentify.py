"""DICOM images without whose they are: only what shows the picture is kept.

The profile is PS3.15's Basic Application Confidentiality Profile, kept by a list of what stays
rather than of what goes: an element that is not on the list is removed, in sequences too, whatever
it is. Of what stays the profile's table (from dicom-anonymizer) has UIDs only, and those are replaced.
"""

from __future__ import annotations

from io import BytesIO

from dicomanonymizer.dicomfields_selector import dicom_anonymization_database_selector
from pydicom import DataElement, Dataset, FileMetaDataset, dcmread
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag

from server.intake.pseudonyms import Pseudonyms

TABLE = "dicomfields_2026c"
METHOD = "PS3.15 2026c Basic Profile by list of kept; pixels unchanged"
# PS3.16 CID 7050.
PROFILE_CODE = ("113100", "DCM", "Basic Application Confidentiality Profile")

_IMAGE = """
SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID FrameOfReferenceUID Modality ConversionType
ImageType InstanceNumber SeriesNumber NumberOfFrames SamplesPerPixel PhotometricInterpretation
PlanarConfiguration Rows Columns BitsAllocated BitsStored HighBit PixelRepresentation PixelPaddingValue
PixelPaddingRangeLimit PixelAspectRatio SmallestImagePixelValue LargestImagePixelValue
LossyImageCompression LossyImageCompressionRatio LossyImageCompressionMethod BurnedInAnnotation
RecognizableVisualFeatures PixelData FloatPixelData DoubleFloatPixelData ExtendedOffsetTable
ExtendedOffsetTableLengths
"""
_SHOWING = """
RescaleIntercept RescaleSlope RescaleType WindowCenter WindowWidth VOILUTFunction PresentationLUTShape
ModalityLUTSequence VOILUTSequence LUTDescriptor LUTData ModalityLUTType
RedPaletteColorLookupTableDescriptor GreenPaletteColorLookupTableDescriptor
BluePaletteColorLookupTableDescriptor RedPaletteColorLookupTableData GreenPaletteColorLookupTableData
BluePaletteColorLookupTableData SegmentedRedPaletteColorLookupTableData
SegmentedGreenPaletteColorLookupTableData SegmentedBluePaletteColorLookupTableData
"""
_PLACE = """
PixelSpacing ImagerPixelSpacing NominalScannedPixelSpacing PixelSpacingCalibrationType SliceThickness
SpacingBetweenSlices SliceLocation ImagePositionPatient ImageOrientationPatient PatientPosition
PatientOrientation Laterality ImageLaterality ViewPosition BodyPartExamined
EstimatedRadiographicMagnificationFactor SequenceOfUltrasoundRegions RegionSpatialFormat RegionDataType
RegionLocationMinX0 RegionLocationMinY0 RegionLocationMaxX1 RegionLocationMaxY1 PhysicalUnitsXDirection
PhysicalUnitsYDirection PhysicalDeltaX PhysicalDeltaY SharedFunctionalGroupsSequence
PerFrameFunctionalGroupsSequence PixelMeasuresSequence PixelValueTransformationSequence
FrameVOILUTSequence PlanePositionSequence PlaneOrientationSequence
"""
KEPT = frozenset(Tag(tag_for_keyword(word)) for word in f"{_IMAGE} {_SHOWING} {_PLACE}".split())
# Type 2 of every image: they must be there, and may be empty.
EMPTIED = (
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)


def profile_uids() -> frozenset[BaseTag]:
    """UIDs that the profile has replaced."""
    return frozenset(Tag(tag) for tag in dicom_anonymization_database_selector(TABLE)["U_TAGS"])


def deidentify(content: bytes, pseudonyms: Pseudonyms) -> bytes:
    """A DICOM image that shows the same picture and does not say whose it is.

    Compressed pixels are not touched. What is written into the picture itself stays there; see
    :mod:`server.intake.burnt_in`.

    Args:
        content: The file.
        pseudonyms: Give the UIDs and the patient's name.
    """
    original = dcmread(BytesIO(content), force=True)
    kept = _kept(original, pseudonyms)
    for keyword in EMPTIED:
        kept[keyword] = DataElement(keyword, dictionary_VR(keyword), "")
    patient = patient_key(original, pseudonyms)
    kept.PatientID = patient or ""
    kept.PatientIdentityRemoved = "YES"
    kept.DeidentificationMethod = METHOD
    kept.LongitudinalTemporalInformationModified = "REMOVED"
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = PROFILE_CODE
    kept.DeidentificationMethodCodeSequence = Sequence([code])
    return _written(kept, original)


def patient_key(dataset: Dataset, pseudonyms: Pseudonyms) -> str | None:
    """What groups the images of one patient, or of one study where no patient is named; None of neither."""
    patient = _text(dataset, "PatientID")
    if patient:
        return pseudonyms.name("patient", patient, _text(dataset, "IssuerOfPatientID"))
    study = _text(dataset, "StudyInstanceUID")
    return pseudonyms.name("study", study) if study else None


def _text(dataset: Dataset, keyword: str) -> str:
    return str(dataset.get(keyword) or "").strip()


def _kept(dataset: Dataset, pseudonyms: Pseudonyms) -> Dataset:
    replaced = profile_uids()
    kept = Dataset()
    for tag in dataset.keys():  # noqa: SIM118 - iterating over a dataset reads every value.
        if tag not in KEPT:
            continue
        element = dataset.get_item(tag)
        if tag in replaced:
            kept[tag] = DataElement(tag, "UI", pseudonyms.uid(_uid(dataset, tag)))
        elif _is_sequence(element, tag):
            kept[tag] = DataElement(
                tag, "SQ", Sequence([_kept(item, pseudonyms) for item in dataset[tag].value])
            )
        elif element.VR is None and not dataset.original_encoding[0]:
            # Of a file that is not written as it says: the element's type is known once it was read.
            kept[tag] = dataset[tag]
        else:
            kept[tag] = element
    kept.set_original_encoding(*dataset.original_encoding, dataset.original_character_set)
    return kept


def _uid(dataset: Dataset, tag: BaseTag) -> str:
    return str(dataset[tag].value or "")


def _is_sequence(element: DataElement | RawDataElement, tag: BaseTag) -> bool:
    return (element.VR or dictionary_VR(tag)) == "SQ" or dictionary_VR(tag) == "SQ"


def _written(kept: Dataset, original: Dataset) -> bytes:
    implicit, little = original.original_encoding
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = kept.get("SOPClassUID") or ""
    meta.MediaStorageSOPInstanceUID = kept.get("SOPInstanceUID") or ""
    syntax = original.file_meta.get("TransferSyntaxUID")
    meta.TransferSyntaxUID = syntax or ("1.2.840.10008.1.2" if implicit else "1.2.840.10008.1.2.1")
    kept.file_meta = meta
    out = BytesIO()
    kept.save_as(out, implicit_vr=bool(implicit), little_endian=little is not False, enforce_file_format=True)
    return out.getvalue()
