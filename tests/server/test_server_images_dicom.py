from __future__ import annotations

import warnings
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset, FileMetaDataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from server.errors import ImageTooLargeError, UnreadableImageError
from server.images import DecodedImage, read_image

LIMIT = 1_000_000
RAMP = np.arange(64, dtype=np.uint16).reshape(8, 8) * 64


def bundled(name: str) -> bytes:
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str), f"pydicom no longer bundles {name}"
    return Path(path).read_bytes()


def read(content: bytes) -> DecodedImage:
    return read_image(content, max_pixels=LIMIT)


def grey(content: bytes) -> NDArray[np.uint8]:
    pixels = read(content).pixels
    assert (pixels == pixels[..., :1]).all()
    return pixels[..., 0]


def saved(dataset: Dataset) -> bytes:
    out = BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def made(values: NDArray[np.generic] = RAMP, **elements: object) -> Dataset:
    """A valid image of given stored values; further elements by keyword."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID
    dataset.Rows, dataset.Columns = values.shape[:2]
    dataset.SamplesPerPixel = 3 if values.ndim == 3 else 1
    if values.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = "RGB" if values.ndim == 3 else "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = values.dtype.itemsize * 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    dataset.PixelData = values.tobytes()
    for name, value in elements.items():
        setattr(dataset, name, value)
    return dataset


class TestBundledFiles:
    def test_ct_has_its_spacing_and_fills_the_grey_scale(self) -> None:
        image = read(bundled("CT_small.dcm"))
        assert image.format == "DICOM"
        assert image.pixels.shape == (128, 128, 3)
        assert image.spacing == (0.661468, 0.661468)
        assert (image.pixels.min(), image.pixels.max()) == (0, 255)

    def test_mr_is_shown_through_its_window(self) -> None:
        # Centre 600, width 1600, LINEAR: PS3.3 C.11.2.1.2.1.
        stored = dcmread(BytesIO(bundled("MR_small.dcm"))).pixel_array.astype(float)
        expected = (((stored - 599.5) / 1599 + 0.5) * 255).clip(0, 255)
        assert np.abs(grey(bundled("MR_small.dcm")) - expected).max() <= 0.51

    @pytest.mark.parametrize(
        "name",
        [
            "MR_small_RLE.dcm",
            "MR_small_bigendian.dcm",
            "MR_small_implicit.dcm",
            "MR_small_jp2klossless.dcm",
            "MR_small_jpeg_ls_lossless.dcm",
        ],
    )
    def test_every_lossless_way_of_writing_gives_the_same_picture(self, name: str) -> None:
        assert (read(bundled(name)).pixels == read(bundled("MR_small.dcm")).pixels).all()

    @pytest.mark.parametrize(
        ("name", "tolerance"),
        [
            ("SC_rgb_rle.dcm", 0),
            ("SC_rgb_rle_16bit.dcm", 0),
            ("SC_rgb_rle_32bit.dcm", 0),
            ("SC_rgb_jpeg_gdcm.dcm", 0),
            ("SC_rgb_gdcm_KY.dcm", 4),
            ("SC_rgb_jpeg_dcmtk.dcm", 6),
            ("SC_rgb_dcmtk_+eb+cr.dcm", 4),
            ("SC_ybr_full_422_uncompressed.dcm", 6),
        ],
    )
    def test_colours_survive_every_way_of_writing(self, name: str, tolerance: int) -> None:
        # Bands of red, green, blue, grey and white: their middles, away from smeared edges.
        pixels = read(bundled(name)).pixels
        expected = [(255, 0, 0), (255, 128, 128), (0, 255, 0), (128, 255, 128), (0, 0, 255)]
        for row, colour in zip((5, 15, 25, 35, 45), expected, strict=True):
            assert np.abs(pixels[row, 50].astype(int) - colour).max() <= tolerance

    def test_palette_colour(self) -> None:
        image = read(bundled("examples_palette.dcm"))
        assert image.pixels.shape == (350, 800, 3)
        assert not (image.pixels[..., 0] == image.pixels[..., 2]).all()

    def test_ultrasound_in_rgb(self) -> None:
        assert read(bundled("examples_rgb_color.dcm")).pixels.shape == (240, 320, 3)

    def test_jpeg_2000_ultrasound(self) -> None:
        assert read(bundled("examples_jpeg2k.dcm")).pixels.shape == (480, 640, 3)

    def test_deflated(self) -> None:
        assert read(bundled("image_dfl.dcm")).pixels.shape == (512, 512, 3)

    def test_one_bit(self) -> None:
        assert set(np.unique(grey(bundled("liver_1frame.dcm")))) == {0, 255}


class TestPresentation:
    def test_monochrome1_is_inverted(self) -> None:
        window = {"WindowCenter": 2048, "WindowWidth": 4096}
        normal = grey(saved(made(**window)))
        inverted = grey(saved(made(PhotometricInterpretation="MONOCHROME1", **window)))
        assert normal.std() > 50
        assert (inverted == 255 - normal).all()

    def test_the_window_is_in_rescaled_units(self) -> None:
        # Hounsfield = stored - 1024; bone window 300 +- 1000 in Hounsfield units.
        content = made(RAMP, RescaleSlope=1, RescaleIntercept=-1024, WindowCenter=300, WindowWidth=2000)
        expected = (((RAMP.astype(float) - 1024 - 299.5) / 1999 + 0.5) * 255).clip(0, 255)
        assert np.abs(grey(saved(content)) - expected).max() <= 0.51

    def test_a_negative_slope_turns_the_greys_round(self) -> None:
        content = made(RAMP, RescaleSlope=-1, RescaleIntercept=4095, WindowCenter=2048, WindowWidth=4096)
        shown = grey(saved(content)).ravel()
        assert shown[0] > 250
        assert shown[-1] < 5

    def test_signed_values(self) -> None:
        signed = RAMP.astype(np.int16) - 2048
        shown = grey(saved(made(signed, WindowCenter=0, WindowWidth=4096))).ravel()
        assert (shown[0], shown[32]) == (0, 128)

    @pytest.mark.parametrize(
        ("function", "middle", "low"),
        [("LINEAR_EXACT", 128, 64), ("SIGMOID", 128, round(255 / (1 + np.exp(1))))],
    )
    def test_other_window_functions(self, function: str, middle: int, low: int) -> None:
        values = np.array([[1024, 2048], [0, 4095]], dtype=np.uint16)
        content = made(values, WindowCenter=2048, WindowWidth=4096, VOILUTFunction=function)
        shown = grey(saved(content))
        assert abs(int(shown[0, 1]) - middle) <= 1
        assert abs(int(shown[0, 0]) - low) <= 1

    def test_the_first_of_several_windows(self) -> None:
        several = saved(made(WindowCenter=[2048, 100], WindowWidth=[4096, 10]))
        assert (grey(several) == grey(saved(made(WindowCenter=2048, WindowWidth=4096)))).all()

    @pytest.mark.parametrize("descriptor_bits", [8, 16])
    def test_a_voi_table_comes_before_the_window(self, descriptor_bits: int) -> None:
        # A table that turns the greys round, over the stored values 0..4095.
        table = Dataset()
        top = 2**descriptor_bits - 1
        entries = np.linspace(top, 0, 4096).round().astype(f"uint{descriptor_bits}")
        table.LUTDescriptor = [4096, 0, descriptor_bits]
        table.LUTData = entries.tobytes()
        table["LUTDescriptor"].VR = "US"
        table["LUTData"].VR = "OW"
        content = saved(made(WindowCenter=2048, WindowWidth=4096, VOILUTSequence=Sequence([table])))
        expected = 255 - RAMP / 4095 * 255
        assert np.abs(grey(content) - expected).max() <= 1

    @pytest.mark.parametrize(
        "window",
        [
            {},
            {"WindowCenter": 2048, "WindowWidth": 0},
            {"WindowCenter": 2048, "WindowWidth": -5},
            {"WindowCenter": 900_000, "WindowWidth": 10},
            {"WindowCenter": None, "WindowWidth": None},
        ],
    )
    def test_without_a_window_that_shows_something_percentiles_do(self, window: dict[str, object]) -> None:
        shown = grey(saved(made(**window)))
        assert (shown.min(), shown.max()) == (0, 255)
        assert (np.diff(shown.ravel().astype(int)) >= 0).all()

    def test_padding_does_not_count_for_percentiles(self) -> None:
        values = RAMP.astype(np.int16) + 1000
        values[:4] = -2000
        shown = grey(saved(made(values, PixelPaddingValue=-2000)))
        assert (shown[:4] == 0).all()
        assert shown[4, 1] < 10

    def test_a_constant_image_is_an_image(self) -> None:
        assert (grey(saved(made(np.full((8, 8), 77, np.uint16)))) == 0).all()

    def test_twelve_bit_colours(self) -> None:
        values = np.zeros((2, 2, 3), dtype=np.uint16)
        values[0, 0] = (4095, 2048, 0)
        assert read(saved(made(values, BitsStored=12, HighBit=11))).pixels[0, 0].tolist() == [255, 128, 0]


class TestSpacing:
    def test_pixel_spacing_is_rows_then_columns(self) -> None:
        spaced = made(PixelSpacing=[0.5, 0.25], ImagerPixelSpacing=[9, 9])
        assert read(saved(spaced)).spacing == (0.5, 0.25)

    def test_detector_spacing_where_there_is_no_other(self) -> None:
        assert read(saved(made(ImagerPixelSpacing=[0.2, 0.1]))).spacing == (0.2, 0.1)

    @pytest.mark.parametrize("value", [[0, 0], [-1, 1], None])
    def test_impossible_spacing_is_no_spacing(self, value: list[float] | None) -> None:
        assert read(saved(made(PixelSpacing=value))).spacing is None

    @staticmethod
    def region(**elements: object) -> Dataset:
        region = Dataset()
        region.RegionSpatialFormat = 1
        region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
        region.PhysicalDeltaX, region.PhysicalDeltaY = 0.02, -0.03
        for name, value in elements.items():
            setattr(region, name, value)
        return region

    def test_a_plain_ultrasound_region_in_millimetres(self) -> None:
        content = saved(made(SequenceOfUltrasoundRegions=Sequence([self.region()])))
        assert read(content).spacing == pytest.approx((0.3, 0.2))

    def test_regions_that_differ_or_measure_something_else_say_nothing(self) -> None:
        for regions in (
            [self.region(), self.region()],
            [self.region(RegionSpatialFormat=3)],
            [self.region(PhysicalUnitsXDirection=4)],
        ):
            assert read(saved(made(SequenceOfUltrasoundRegions=Sequence(regions)))).spacing is None


class TestRefusals:
    @pytest.mark.parametrize(
        ("name", "fault"),
        [
            ("examples_ybr_color.dcm", "has 30 frames; single-frame DICOM is accepted"),
            ("SC_rgb_rle_2frame.dcm", "has 2 frames"),
            ("rtplan.dcm", r"no pixel data \(RT Plan Storage\)"),
            ("MR_truncated.dcm", "less than expected"),
            ("JPGExtended.dcm", r"transfer syntax JPEG Extended .*; accepted are uncompressed"),
        ],
    )
    def test_bundled_files_that_are_no_single_image(self, name: str, fault: str) -> None:
        with pytest.raises(UnreadableImageError, match=fault):
            read(bundled(name))

    def test_a_codestream_that_claims_terapixels(self) -> None:
        with pytest.raises(ImageTooLargeError, match="at most 1,000,000"):
            read(bundled("JPEG2000-embedded-sequence-delimiter.dcm"))

    @pytest.mark.parametrize("part", [0.02, 0.2, 0.5, 0.9, 0.99])
    def test_cut_short(self, part: float) -> None:
        content = bundled("CT_small.dcm")
        with pytest.raises(UnreadableImageError, match="cut short"):
            read(content[: int(len(content) * part)])

    def test_the_header_decides_before_the_pixels_are_touched(self) -> None:
        huge = made(Rows=60_000, Columns=60_000)
        with pytest.raises(
            ImageTooLargeError, match=r"60,000 x 60,000 = 3,600,000,000 pixels; at most 1,000,000"
        ):
            read(saved(huge))

    def test_a_compressed_image_of_another_size_than_the_header_says(self) -> None:
        out = BytesIO()
        Image.new("L", (300, 200)).save(out, format="JPEG")
        dataset = made(np.zeros((8, 8), np.uint8))
        dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
        dataset.PixelData = encapsulate([out.getvalue()])
        with pytest.raises(
            UnreadableImageError, match="says 8 x 8 pixels, but its compressed image 300 x 200"
        ):
            read(saved(dataset))

    @pytest.mark.parametrize("honest", [True, False])
    def test_a_deflated_bomb_is_not_inflated(self, honest: bool) -> None:
        dataset = made()
        dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        whole = saved(dataset)
        length = int.from_bytes(whole[140:144], "little")
        meta = whole[: 144 + length]
        if not honest:
            # The meta information may lie about its own length.
            meta = meta[:140] + bytes(4) + meta[144:]
        # Zeros by the hundred million deflate to a thousandth.
        squeeze = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        body = b"".join(squeeze.compress(bytes(10_000_000)) for _ in range(12)) + squeeze.flush()
        with pytest.raises(ImageTooLargeError, match=r"deflated DICOM file holds more than"):
            read(meta + body)

    def test_an_unknown_transfer_syntax(self) -> None:
        dataset = made()
        content = bytearray(saved(dataset))
        known, unknown = ExplicitVRLittleEndian.encode() + b"\0", b"1.2.840.10008.1.2.9\0"
        content = content.replace(known, unknown)
        with pytest.raises(
            UnreadableImageError, match=r"no transfer syntax '1.2.840.10008.1.2.9' is known; accepted"
        ):
            read(bytes(content))

    def test_missing_sizes_are_named(self) -> None:
        dataset = made()
        del dataset.Rows
        with pytest.raises(UnreadableImageError, match="lacks Rows"):
            read(saved(dataset))

    def test_an_interpretation_that_is_none(self) -> None:
        with pytest.raises(UnreadableImageError, match=r"'HSV'.*accepted are MONOCHROME1"):
            read(saved(made(PhotometricInterpretation="HSV")))


SOURCES = ["CT_small.dcm", "MR_small_RLE.dcm", "MR_small_jpeg_ls_lossless.dcm", "SC_rgb_jpeg_dcmtk.dcm"]


@given(
    name=st.sampled_from(SOURCES),
    cut=st.floats(0, 1),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), max_size=8),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
def test_damage_anywhere_is_a_refusal_or_a_picture(
    name: str, cut: float, flips: list[tuple[float, int]]
) -> None:
    content = bytearray(bundled(name))
    for place, change in flips:
        content[int(place * len(content))] ^= change
    with warnings.catch_warnings():
        # pydicom warns of what it mends.
        warnings.simplefilter("ignore")
        try:
            image = read(bytes(content[: int(len(content) * cut)]))
        except (UnreadableImageError, ImageTooLargeError):
            return
    assert image.pixels.dtype == np.uint8
    assert image.pixels.shape[2] == 3
