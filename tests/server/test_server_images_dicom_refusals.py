"""DICOM files that are refused, and how."""

from __future__ import annotations

import warnings
import zlib
from io import BytesIO

import numpy as np
import pytest
from dicom_files import bundled, made, read, read_all, saved
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
)

from server.errors import ImageTooLargeError, UnreadableImageError


class TestRefusals:
    @pytest.mark.parametrize(
        ("name", "fault"),
        [
            ("examples_ybr_color.dcm", "has 30 frames; single-frame DICOM is accepted"),
            ("SC_rgb_rle_2frame.dcm", "has 2 frames"),
            ("rtplan.dcm", r"no pixel data \(RT Plan Storage\)"),
            ("MR_truncated.dcm", "less than expected"),
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

    def test_more_colour_components_than_the_header_says(self) -> None:
        out = BytesIO()
        Image.new("CMYK", (8, 8)).save(out, format="JPEG")
        dataset = made(np.zeros((8, 8), np.uint8))
        dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
        dataset.PixelData = encapsulate([out.getvalue()])
        with pytest.raises(UnreadableImageError, match="1 samples per pixel, but its compressed image 4"):
            read(saved(dataset))

    def test_a_number_of_samples_that_no_picture_has(self) -> None:
        with pytest.raises(UnreadableImageError, match="4000 samples per pixel; 1 or 3 are accepted"):
            read(saved(made(SamplesPerPixel=4000)))

    def test_a_twelve_bit_jpeg_in_signed_values(self) -> None:
        dataset = dcmread(BytesIO(bundled("JPGExtended.dcm")))
        dataset.PixelRepresentation = 1
        with pytest.raises(UnreadableImageError, match=r"pixel representation \[1, 16, 1\]; \[1, 16, 0\]"):
            read(saved(dataset))

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


SOURCES = [
    "CT_small.dcm",
    "MR_small_RLE.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "SC_rgb_jpeg_dcmtk.dcm",
    "SC_rgb_rle_2frame.dcm",
    "JPGExtended.dcm",
]


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
            images = read_all(bytes(content[: int(len(content) * cut)]))
        except (UnreadableImageError, ImageTooLargeError):
            return
    for image in images:
        assert image.pixels.dtype == np.uint8
        assert image.pixels.shape[2] == 3
