"""DICOM Segmentations, read back by highdicom."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import highdicom as hd
import numpy as np
import pytest
from dicom_sources import (
    MODALITIES,
    OBLIQUE,
    PLACED,
    POSITION,
    SIZES,
    SPACING,
    VERSIONS,
    ZERO_SHOT,
    decoded,
    masks,
    source,
)
from highdicom.seg import Segmentation, segread
from highdicom.spatial import ImageToReferenceTransformer
from numpy.typing import NDArray
from pydicom import Dataset, dcmread

from server.dicom_seg import seg_bytes
from server.schemas import NOTICE


def made_of(
    dataset: Dataset, drawn: list[NDArray[np.bool_]], labels: list[str], **options: Any
) -> Segmentation:
    content = seg_bytes(decoded(dataset), drawn, labels, VERSIONS, **{"threshold": 0.5, **options})
    return segread(BytesIO(content))


def pixels_of(seg: Segmentation, dataset: Dataset) -> NDArray[np.bool_]:
    """Masks [H, W, segments], found through the source that they refer to."""
    found = seg.get_pixels_by_source_instance([dataset.SOPInstanceUID])
    return found[0].astype(bool)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", MODALITIES)
def test_the_same_pixels_come_back(kind: str, size: tuple[int, int]) -> None:
    dataset = source(kind, size)
    drawn = masks(size, 3)
    seg = made_of(dataset, drawn, ["liver", "brain tumor", "left lung"])
    assert (seg.SegmentationType, seg.BitsAllocated, seg.Modality) == ("BINARY", 1, "SEG")
    assert (seg.Rows, seg.Columns) == size
    if kind in ("US of one frame", "fundus"):
        found = seg.pixel_array.reshape(3, *size).transpose(1, 2, 0).astype(bool)
    else:
        found = pixels_of(seg, dataset)
    assert (found == np.stack(drawn, axis=-1)).all()
    # Read by pydicom alone, which knows nothing of segments.
    frames = dcmread(BytesIO(seg_bytes(decoded(dataset), drawn, ["liver"] * 3, VERSIONS, threshold=0.5)))
    assert (frames.pixel_array.reshape(3, *size) == np.stack(drawn)).all()


@pytest.mark.parametrize("kind", MODALITIES)
def test_masks_lie_on_the_stored_pixels(kind: str) -> None:
    # The source is dark at its first pixel and bright at its last, so a turned or mirrored image shows.
    dataset = source(kind, (13, 9))
    image = decoded(dataset)
    assert image.pixels.shape[:2] == (13, 9)
    red = image.pixels[..., 0].astype(int)
    ordered = np.diff(red.ravel()) * (-1 if MODALITIES[kind][2] == "MONOCHROME1" else 1)
    if MODALITIES[kind][2] != "YBR_FULL":
        assert (ordered >= 0).all()
    assert abs(int(red[0, 0]) - int(red[-1, -1])) > 200
    bright = red > 128
    seg = segread(BytesIO(seg_bytes(image, [bright], ["liver"], VERSIONS, threshold=0.5)))
    frame = seg.pixel_array.reshape(13, 9).astype(bool)
    values = dataset.pixel_array[..., 0] if dataset.SamplesPerPixel == 3 else dataset.pixel_array
    dark_is_bright = MODALITIES[kind][2] == "MONOCHROME1"
    assert values[frame].mean() > values[~frame].mean() or dark_is_bright
    assert frame[0, 0] == dark_is_bright
    assert frame[-1, -1] != dark_is_bright


@pytest.mark.parametrize("kind", PLACED)
def test_an_oblique_slice_keeps_its_place_in_the_patient(kind: str) -> None:
    dataset = source(kind)
    seg = made_of(dataset, masks((13, 9), 2), ["liver", "spleen"])
    assert seg.FrameOfReferenceUID == dataset.FrameOfReferenceUID
    shared = seg.SharedFunctionalGroupsSequence[0]
    assert list(shared.PixelMeasuresSequence[0].PixelSpacing) == SPACING
    assert shared.PixelMeasuresSequence[0].SliceThickness == 2.5
    assert list(shared.PlaneOrientationSequence[0].ImageOrientationPatient) == pytest.approx(OBLIQUE)
    for frame in seg.PerFrameFunctionalGroupsSequence:
        assert list(frame.PlanePositionSequence[0].ImagePositionPatient) == pytest.approx(POSITION)
    # A pixel lies at the same millimetres in both: PS3.3 C.7.6.2.1.1.
    ours = ImageToReferenceTransformer.for_image(seg, frame_number=1)
    theirs = ImageToReferenceTransformer.for_image(dataset)
    corner = np.array([[8.0, 12.0]])
    assert ours(corner) == pytest.approx(theirs(corner))
    assert not np.allclose(ours(corner), POSITION)


@pytest.mark.parametrize("kind", [kind for kind in MODALITIES if kind not in PLACED])
def test_without_a_place_in_the_patient_the_pixels_are_the_relation(kind: str) -> None:
    dataset = source(kind)
    seg = made_of(dataset, masks((13, 9), 2), ["liver", "spleen"])
    assert "FrameOfReferenceUID" not in seg
    assert "PlaneOrientationSequence" not in seg.SharedFunctionalGroupsSequence[0]
    for frame in seg.PerFrameFunctionalGroupsSequence:
        assert "PlanePositionSequence" not in frame
        (referred,) = frame.DerivationImageSequence[0].SourceImageSequence
        assert referred.ReferencedSOPInstanceUID == dataset.SOPInstanceUID
        assert referred.SpatialLocationsPreserved == "YES"


def test_patient_study_and_source() -> None:
    dataset = source("DX", SoftwareVersions="detector 9")
    seg = made_of(dataset, masks((13, 9), 1), ["lungs"])
    for name in (
        "PatientID",
        "PatientName",
        "PatientBirthDate",
        "PatientSex",
        "StudyInstanceUID",
        "StudyDate",
        "StudyTime",
        "StudyID",
        "StudyDescription",
        "AccessionNumber",
    ):
        assert seg[name].value == dataset[name].value, name
    assert seg.SeriesInstanceUID != dataset.SeriesInstanceUID
    assert seg.SOPInstanceUID != dataset.SOPInstanceUID
    (series,) = seg.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == dataset.SeriesInstanceUID
    assert series.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == dataset.SOPInstanceUID
    assert seg.ContentDescription == NOTICE
    assert seg.Manufacturer == "TuneVLSeg Studio"


def test_the_checkpoint_is_named_in_every_segment() -> None:
    drawn = masks((13, 9), 2)
    seg = made_of(
        source("US"), drawn, ["breast tumor", "cyst"], phrases=["a dark mass, left", "cyst"], threshold=0.25
    )
    for number, phrase in ((1, "a dark mass, left"), (2, "cyst")):
        segment = seg.get_segment_description(number)
        assert segment.algorithm_type.value == "AUTOMATIC"
        identification = segment.algorithm_identification
        assert identification.name == segment.SegmentAlgorithmName == "TuneVLSeg Studio clipseg-tiny-med"
        assert identification.version.endswith(" busi/v0002")
        assert identification.family.meaning == "Artificial Intelligence"
        assert identification[0].AlgorithmParameters == (
            f"base=clipseg-tiny-med,base_digest={'9a41' * 16},checkpoint=busi/v0002,checkpoint_strategy=vpt,"
            f"checkpoint_digest={'c07e' * 16},threshold=0.25,prompt={phrase}"
        )


def test_without_a_checkpoint_it_says_zero_shot() -> None:
    content = seg_bytes(decoded(source("US")), masks((13, 9), 1), ["cyst"], ZERO_SHOT, threshold=0.5)
    identification = segread(BytesIO(content)).get_segment_description(1).algorithm_identification
    assert identification.version.endswith(" zero-shot")
    assert "checkpoint=zero-shot," in identification[0].AlgorithmParameters
    assert "checkpoint_digest" not in identification[0].AlgorithmParameters


def test_codes_and_colours_of_the_segments() -> None:
    seg = made_of(source("CR"), masks((13, 9), 2), ["Left  Lung.", "lung lesion"])
    left, lesion = (seg.get_segment_description(number) for number in (1, 2))
    assert left.SegmentLabel == "Left  Lung."
    assert left.segmented_property_category.meaning == "Anatomical Structure"
    assert left.segmented_property_type == hd.sr.CodedConcept("39607008", "SCT", "Lung")
    (side,) = left.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence
    assert (side.CodeValue, side.CodeMeaning) == ("7771000", "Left")
    assert "AnatomicRegionSequence" not in left
    assert lesion.segmented_property_category.meaning == "Morphologically Abnormal Structure"
    assert [region.meaning for region in lesion.anatomic_regions] == ["Lung"]
    assert left.RecommendedDisplayCIELabValue != lesion.RecommendedDisplayCIELabValue


@pytest.mark.parametrize("kind", ["CT", "US"])
@pytest.mark.parametrize("found", [[False, False], [True, False], [False, True]])
def test_empty_masks_are_answers_too(kind: str, found: list[bool]) -> None:
    dataset = source(kind)
    drawn = [np.full((13, 9), each) for each in found]
    seg = made_of(dataset, drawn, ["liver", "spleen"])
    assert (seg.NumberOfFrames, seg.number_of_segments) == (2, 2)
    assert (pixels_of(seg, dataset) == np.stack(drawn, axis=-1)).all()


def test_masks_may_overlap() -> None:
    dataset = source("MR")
    everything = np.ones((13, 9), np.bool_)
    seg = made_of(dataset, [everything, everything], ["liver", "mass"])
    assert seg.SegmentsOverlap == "YES"
    assert pixels_of(seg, dataset).all()
