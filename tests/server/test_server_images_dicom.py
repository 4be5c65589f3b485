from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from dicom_files import RAMP, bundled, grey, made, read, saved
from pydicom import Dataset, dcmread
from pydicom.sequence import Sequence


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
