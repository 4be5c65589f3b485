import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.uid import DeflatedExplicitVRLittleEndian

from webui.previews import MAX_PIXELS, preview_png


def opened(png: bytes | None) -> Image.Image:
    assert png is not None
    return Image.open(io.BytesIO(png))


def dicom(name: str) -> Path:
    return Path(str(get_testdata_file(name, download=False)))


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "BMP", "WEBP"])
def test_pictures_are_shown_smaller(tmp_path: Path, format: str) -> None:
    path = tmp_path / "picture"
    Image.new("RGB", (300, 200), (200, 30, 30)).save(path, format)
    shown = opened(preview_png(path, side=150))
    assert shown.size == (150, 100)
    assert shown.getpixel((75, 50)) == pytest.approx((200, 30, 30), abs=6)


def test_a_photo_stands_upright(tmp_path: Path) -> None:
    path, picture = tmp_path / "photo.jpg", Image.new("RGB", (30, 20))
    exif = picture.getexif()
    exif[0x0112] = 6  # Orientation: turned by a quarter.
    picture.save(path, exif=exif)
    assert opened(preview_png(path, side=100)).size == (20, 30)


def test_sixteen_bits_are_spread_over_eight(tmp_path: Path) -> None:
    path = tmp_path / "deep.tiff"
    Image.fromarray(np.tile(np.arange(1000, 1064, dtype=np.uint16), (8, 1))).save(path)
    shown = np.asarray(opened(preview_png(path, side=64)))
    assert (shown.min(), shown.max()) == (0, 255)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("CT_small.dcm", (128, 128)),
        ("MR_small.dcm", (64, 64)),
        ("examples_rgb_color.dcm", (320, 240)),
        ("J2K_pixelrep_mismatch.dcm", (512, 512)),
        ("examples_jpeg2k.dcm", (640, 480)),
    ],
)
def test_dicom_is_shown(name: str, size: tuple[int, int]) -> None:
    shown = opened(preview_png(dicom(name), side=1024))
    assert shown.size == size
    assert np.ptp(np.asarray(shown)) > 100


def test_monochrome1_is_bright_where_values_are_low(tmp_path: Path) -> None:
    dataset, path = pydicom.dcmread(dicom("CT_small.dcm")), tmp_path / "negative.dcm"
    positive = np.asarray(opened(preview_png(dicom("CT_small.dcm"), side=128))).astype(int)
    dataset.PhotometricInterpretation = "MONOCHROME1"
    dataset.save_as(path)
    negative = np.asarray(opened(preview_png(path, side=128))).astype(int)
    assert (positive + negative == 255).all()


def test_a_header_that_lies_about_a_compressed_frame_is_not_decoded(tmp_path: Path) -> None:
    dataset, path = pydicom.dcmread(dicom("J2K_pixelrep_mismatch.dcm")), tmp_path / "lies.dcm"
    dataset.Rows = 16
    dataset.save_as(path)
    assert preview_png(path, side=64) is None


def test_a_deflated_file_is_left_to_the_server(tmp_path: Path) -> None:
    dataset, path = pydicom.dcmread(dicom("CT_small.dcm")), tmp_path / "deflated.dcm"
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(path)
    assert preview_png(path, side=64) is None


@pytest.mark.parametrize("content", [b"", b"only text", b"\x89PNG\r\n\x1a\n cut", b"\0" * 128 + b"DICM cut"])
def test_what_is_no_image_has_no_preview(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert preview_png(path, side=64) is None


def test_a_huge_header_is_not_decoded(tmp_path: Path) -> None:
    path = tmp_path / "huge.bmp"
    Image.new("L", (4, 4)).save(path)
    content = bytearray(path.read_bytes())
    side = int(MAX_PIXELS**0.5) + 1
    content[18:26] = side.to_bytes(4, "little") * 2
    path.write_bytes(content)
    assert preview_png(path, side=64) is None


def test_several_frames_have_no_preview() -> None:
    assert preview_png(dicom("SC_rgb_rle_2frame.dcm"), side=64) is None
