"""Sources of DICOM Segmentations that are unusual, lacking or no sources at all."""

from __future__ import annotations

import warnings
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from dicom_files import bundled, made, read, read_all, saved
from dicom_sources import OBLIQUE, POSITION, SPACING, VERSIONS, decoded, masks, source
from highdicom.seg import Segmentation, segread
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, EnhancedCTImageStorage, generate_uid
from serving import png

from models_store.errors import BadInputError
from server.dicom_seg import seg_bytes
from server.errors import UnmappedLabelError
from server.images import DecodedImage
from server.images.dicom_header import read_header

SIZE = (13, 9)


def seg_of(dataset: Dataset, count: int = 1) -> Segmentation:
    content = seg_bytes(decoded(dataset), masks(SIZE, count), ["liver"] * count, VERSIONS, threshold=0.5)
    return segread(BytesIO(content))


def refused(image: DecodedImage) -> str:
    mask = np.ones(image.pixels.shape[:2], np.bool_)
    with pytest.raises(BadInputError) as error:
        seg_bytes(image, [mask], ["liver"], VERSIONS, threshold=0.5)
    return str(error.value)


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 100", "Müller^Jörg"),
        ("ISO_IR 192", "Wang^XiaoDong=王^小東"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("ISO_IR 100", "Anonymous"),
    ],
)
def test_names_of_people_survive_in_every_character_set(charset: Any, name: str) -> None:
    dataset = source("CT", SpecificCharacterSet=charset, PatientName=name, StudyDescription=name[:12])
    seg = seg_of(dataset)
    assert seg.SpecificCharacterSet == "ISO_IR 192"
    assert str(seg.PatientName) == name
    assert seg.StudyDescription == name[:12]


@pytest.mark.filterwarnings("ignore:Invalid value for VR TM")
def test_what_a_modality_left_out_or_wrote_badly_is_left_empty() -> None:
    dataset = source("US", PatientSex="X", StudyTime="250000")
    for name in ("PatientID", "PatientName", "StudyID", "StudyDate", "AccessionNumber"):
        del dataset[name]
    seg = seg_of(dataset)
    for name in ("PatientID", "PatientName", "PatientSex", "StudyID", "StudyDate", "StudyTime"):
        assert not seg[name].value, name
    assert seg.PatientBirthDate == "18671107"


@pytest.mark.parametrize("name", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
def test_an_image_without_its_name_cannot_be_referred_to(name: str) -> None:
    dataset = source("CT")
    setattr(dataset, name, "")
    assert f"lacks {name}" in refused(decoded(dataset))


@pytest.mark.parametrize(
    "name",
    [
        "FrameOfReferenceUID",
        "ImageOrientationPatient",
        "PixelSpacing",
        "ImagePositionPatient",
        "SliceThickness",
    ],
)
def test_a_place_said_by_halves_is_no_place(name: str) -> None:
    dataset = source("CT")
    del dataset[name]
    seg = seg_of(dataset)
    assert seg.get("FrameOfReferenceUID") == dataset.get("FrameOfReferenceUID")
    assert "PlaneOrientationSequence" not in seg.SharedFunctionalGroupsSequence[0]
    assert "PlanePositionSequence" not in seg.PerFrameFunctionalGroupsSequence[0]
    assert (seg.get_pixels_by_source_instance([dataset.SOPInstanceUID])[0, ..., 0] == masks(SIZE, 1)[0]).all()


def test_a_spacing_without_a_thickness_is_left_to_the_source() -> None:
    shared = seg_of(source("DX", PixelSpacing=[0.2, 0.1])).SharedFunctionalGroupsSequence[0]
    assert "PixelMeasuresSequence" not in shared


@pytest.mark.parametrize("shared_place", [True, False])
def test_an_enhanced_file_of_one_frame(shared_place: bool) -> None:
    dataset = source("CT", SOPClassUID=EnhancedCTImageStorage, NumberOfFrames=1)
    dataset.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        del dataset[name]
    measures, orientation, position = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = SPACING, 2.5
    orientation.ImageOrientationPatient, position.ImagePositionPatient = OBLIQUE, POSITION
    shared, frame = Dataset(), Dataset()
    place = shared if shared_place else frame
    place.PixelMeasuresSequence = Sequence([measures])
    place.PlaneOrientationSequence = Sequence([orientation])
    frame.PlanePositionSequence = Sequence([position])
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    dataset.PerFrameFunctionalGroupsSequence = Sequence([frame])
    seg = seg_of(dataset)
    place = seg.SharedFunctionalGroupsSequence[0]
    assert list(place.PixelMeasuresSequence[0].PixelSpacing) == SPACING
    assert list(place.PlaneOrientationSequence[0].ImageOrientationPatient) == pytest.approx(OBLIQUE)
    frame = seg.PerFrameFunctionalGroupsSequence[0]
    assert list(frame.PlanePositionSequence[0].ImagePositionPatient) == pytest.approx(POSITION)


def test_frames_of_fewer_pixels_than_a_byte_has_bits() -> None:
    drawn = masks((1, 3), 3)
    content = seg_bytes(decoded(source("CR", (1, 3))), drawn, ["liver"] * 3, VERSIONS, threshold=0.5)
    bits = np.unpackbits(np.frombuffer(dcmread(BytesIO(content)).PixelData, np.uint8), bitorder="little")
    assert (bits[:9] == np.stack(drawn).ravel()).all()


@pytest.mark.parametrize(
    "name",
    [
        "CT_small.dcm",
        "MR_small.dcm",
        "MR_small_implicit.dcm",
        "MR_small_bigendian.dcm",
        "MR_small_RLE.dcm",
        "MR_small_jp2klossless.dcm",
        "examples_rgb_color.dcm",
        "examples_palette.dcm",
        "examples_jpeg2k.dcm",
        "SC_rgb_jpeg_dcmtk.dcm",
        "693_J2KI.dcm",
        "JPGExtended.dcm",
    ],
)
def test_real_files(name: str) -> None:
    image = read(bundled(name))
    bright = image.pixels[..., 0] > 128
    seg = segread(BytesIO(seg_bytes(image, [bright], ["liver"], VERSIONS, threshold=0.5)))
    assert (seg.pixel_array.astype(bool).reshape(bright.shape) == bright).all()
    original = dcmread(BytesIO(bundled(name)))
    assert str(seg.PatientName) == str(original.PatientName)
    assert seg.StudyInstanceUID == original.StudyInstanceUID


def test_no_dicom_and_no_single_frame() -> None:
    assert "this one is PNG" in refused(read(png()))
    first = read_all(bundled("SC_rgb_rle_2frame.dcm"))[0]
    assert "DICOM of 2 frames" in refused(first)


def test_a_header_too_large_to_keep() -> None:
    referred = Dataset()
    referred.ReferencedSOPInstanceUID = generate_uid()
    dataset = source("US", ReferencedImageSequence=Sequence([referred] * 5000))
    image = decoded(dataset)
    assert image.header is None
    assert "larger than output dicom_seg takes" in refused(image)


@pytest.mark.parametrize("deflated", [False, True])
def test_of_a_large_header_only_what_is_needed_is_kept(deflated: bool) -> None:
    dataset = source("SC")
    if deflated:
        dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    block = dataset.private_block(0x0009, "MAKER", create=True)
    block.add_new(1, "OB", b"secret" * (1 if deflated else 100_000))
    image = decoded(dataset)
    assert image.header is not None
    assert len(image.header) < 2000
    kept = read_header(image.header)
    assert kept.PatientID == "4711"
    assert "PixelData" not in kept
    assert "RedPaletteColorLookupTableData" not in kept
    assert b"secret" not in image.header
    assert seg_of(dataset).PatientID == "4711"


def test_no_pixels_are_kept() -> None:
    dataset = source("CT", (65, 33))
    image = decoded(dataset)
    assert image.header is not None
    assert image.header in saved(dataset)
    assert len(image.header) < len(saved(dataset)) - 2 * 65 * 33 + 1


def test_a_class_that_is_none() -> None:
    dataset = source("SC", SOPClassUID=generate_uid())
    assert "no DICOM Segmentation can be made" in refused(decoded(dataset))


def test_a_bare_image_that_names_nothing() -> None:
    assert "StudyInstanceUID, SeriesInstanceUID" in refused(read(saved(made())))


def test_the_label_is_refused_before_anything_is_built() -> None:
    with pytest.raises(UnmappedLabelError, match="'giraffe'"):
        seg_bytes(read(png()), [np.ones((48, 70), np.bool_)], ["giraffe"], VERSIONS, threshold=0.5)


@given(
    name=st.sampled_from(["CT_small.dcm", "MR_small_implicit.dcm", "examples_rgb_color.dcm"]),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=6),
)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
def test_damage_to_the_header_is_a_refusal_or_a_segmentation(
    name: str, flips: list[tuple[float, int]]
) -> None:
    image = read(bundled(name))
    assert image.header is not None
    header = bytearray(image.header)
    for place, change in flips:
        header[int(place * len(header))] ^= change
    mask = image.pixels[..., 0] > 128
    with warnings.catch_warnings():
        # pydicom warns of what it mends.
        warnings.simplefilter("ignore")
        try:
            content = seg_bytes(
                replace(image, header=bytes(header)), [mask], ["liver"], VERSIONS, threshold=0.5
            )
        except BadInputError:
            return
        found = dcmread(BytesIO(content))
        assert (found.pixel_array == mask).all()
