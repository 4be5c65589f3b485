from __future__ import annotations

import hashlib
import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models_store.upright import stretch
from server.errors import ImageTooLargeError, UnreadableImageError
from server.images import read_image

LIMIT = 1_000_000
RGB = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def saved(image: Image.Image, name: str, **options: object) -> bytes:
    out = BytesIO()
    image.save(out, format=name, **options)
    return out.getvalue()


def read(content: bytes) -> NDArray[np.uint8]:
    return read_image(content, max_pixels=LIMIT).pixels


def png_header(width: int, height: int) -> bytes:
    """A PNG that says its size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


class TestFormats:
    @pytest.mark.parametrize("name", ["PNG", "TIFF", "BMP"])
    def test_lossless_ones_come_back_as_they_were(self, name: str) -> None:
        content = saved(Image.fromarray(RGB), name)
        image = read_image(content, max_pixels=LIMIT)
        assert (image.pixels == RGB).all()
        assert (image.format, image.height, image.width, image.spacing) == (name, 20, 30, None)
        assert image.digest == hashlib.sha256(content).hexdigest()

    def test_webp(self) -> None:
        assert (read(saved(Image.fromarray(RGB), "WEBP", lossless=True)) == RGB).all()

    def test_jpeg_comes_back_nearly(self) -> None:
        smooth = np.repeat(np.arange(0, 240, 8, dtype=np.uint8)[None, :, None], 3, axis=2).repeat(20, axis=0)
        image = read_image(saved(Image.fromarray(smooth), "JPEG", quality=95), max_pixels=LIMIT)
        assert image.format == "JPEG"
        assert np.abs(image.pixels.astype(int) - smooth).max() < 8

    def test_lzw_and_deflate_tiffs(self) -> None:
        for compression in ("tiff_lzw", "tiff_adobe_deflate"):
            assert (read(saved(Image.fromarray(RGB), "TIFF", compression=compression)) == RGB).all()


class TestModes:
    def test_one_bit(self) -> None:
        bits = RGB[..., 0] > 127
        assert (read(saved(Image.fromarray(bits), "PNG"))[..., 1] == np.where(bits, 255, 0)).all()

    def test_grey_is_repeated(self) -> None:
        pixels = read(saved(Image.fromarray(RGB[..., 0]), "PNG"))
        assert all((pixels[..., i] == RGB[..., 0]).all() for i in range(3))

    def test_palette(self) -> None:
        indexed = Image.fromarray(RGB[..., 0] // 128).convert("P")
        indexed.putpalette([10, 20, 30, 200, 150, 100])
        pixels = read(saved(indexed, "PNG"))
        assert sorted(map(tuple, np.unique(pixels.reshape(-1, 3), axis=0).tolist())) == [
            (10, 20, 30),
            (200, 150, 100),
        ]

    def test_transparency_lies_on_black(self) -> None:
        clear = np.dstack([RGB, np.zeros((20, 30), np.uint8)])
        clear[:, 15:, 3] = 255
        pixels = read(saved(Image.fromarray(clear), "PNG"))
        assert (pixels[:, :15] == 0).all()
        assert (pixels[:, 15:] == RGB[:, 15:]).all()

    def test_a_transparent_palette_entry_is_black(self) -> None:
        indexed = Image.fromarray(RGB[..., 0] // 128).convert("P")
        indexed.putpalette([250, 250, 250, 200, 150, 100])
        pixels = read(saved(indexed, "PNG", transparency=0))
        assert (pixels[RGB[..., 0] < 128] == 0).all()

    def test_cmyk_jpeg(self) -> None:
        pixels = read(saved(Image.new("CMYK", (16, 16), (0, 0, 0, 0)), "JPEG"))
        assert (pixels == 255).all()

    @pytest.mark.parametrize("name", ["PNG", "TIFF"])
    def test_sixteen_bits_are_spread_over_the_grey_scale(self, name: str) -> None:
        # Twelve bits of content in sixteen, as detectors deliver: shown as it lies, it would be near black.
        deep = np.arange(600, dtype=np.uint16).reshape(20, 30) * 6
        pixels = read(saved(Image.fromarray(deep), name))
        assert pixels.min() == 0
        assert pixels.max() == 255
        assert 120 < pixels.mean() < 135
        assert (np.diff(pixels[..., 0].ravel().astype(int)) >= 0).all()

    def test_floating_point_tiff_with_not_a_number(self) -> None:
        values = np.linspace(-1, 1, 600, dtype=np.float32).reshape(20, 30)
        values[0, 0] = np.nan
        pixels = read(saved(Image.fromarray(values), "TIFF"))
        assert (pixels[0, 1, 0], pixels[-1, -1, 0]) == (0, 255)

    def test_a_constant_sixteen_bit_image_is_black(self) -> None:
        assert (read(saved(Image.fromarray(np.full((9, 9), 5000, np.uint16)), "PNG")) == 0).all()

    def test_little_content_on_an_even_ground_still_shows(self) -> None:
        values = np.zeros((100, 100))
        values[50, 50] = 7
        assert stretch(values)[50, 50] == 255


class TestOrientation:
    def test_exif_rotation_is_applied(self) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6  # The camera lay on its right side.
        image = read_image(saved(Image.fromarray(RGB), "PNG", exif=exif), max_pixels=LIMIT)
        assert (image.height, image.width) == (30, 20)
        assert (image.pixels == np.rot90(RGB, k=-1)).all()


class TestRefusals:
    def test_empty(self) -> None:
        with pytest.raises(UnreadableImageError, match=r"empty \(0 bytes\); accepted are PNG"):
            read(b"")

    @pytest.mark.parametrize(
        "content", [b"hello, world", b"%PDF-1.7 ...", b"GIF89a" + bytes(100), b"BMX is a bike"]
    )
    def test_not_an_image(self, content: bytes) -> None:
        with pytest.raises(UnreadableImageError, match="not an image this service reads; accepted are PNG"):
            read(content)

    @pytest.mark.parametrize("name", ["PNG", "JPEG", "TIFF", "BMP", "WEBP"])
    @pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
    def test_cut_short(self, name: str, part: float) -> None:
        content = saved(Image.fromarray(RGB), name)
        with pytest.raises(UnreadableImageError, match=f"begins like a {name} image but cannot be decoded"):
            read(content[: int(len(content) * part)])

    def test_ten_gigapixels_are_refused_by_the_header(self) -> None:
        with pytest.raises(
            ImageTooLargeError, match=r"10,000,000,000 pixels; at most 1,000,000 are accepted"
        ):
            read(png_header(100_000, 100_000))

    @pytest.mark.parametrize("side", [(1001, 1000), (10_000, 10_000)])
    def test_more_pixels_than_the_limit(self, side: tuple[int, int]) -> None:
        with pytest.raises(ImageTooLargeError, match="at most 1,000,000 are accepted"):
            read(png_header(*side))

    def test_as_many_pixels_as_the_limit_are_decoded(self) -> None:
        content = saved(Image.fromarray(RGB), "PNG")
        assert read_image(content, max_pixels=600).width == 30
        with pytest.raises(ImageTooLargeError, match="30 x 20 = 600 pixels; at most 599"):
            read_image(content, max_pixels=599)

    @pytest.mark.parametrize("name", ["TIFF", "PNG", "WEBP"])
    def test_several_images_are_refused(self, name: str) -> None:
        page = Image.fromarray(RGB)
        other = Image.fromarray(RGB[::-1])
        content = saved(page, name, save_all=True, append_images=[other, page])
        with pytest.raises(
            UnreadableImageError, match=f"the {name} file holds several images; a file of one is accepted"
        ):
            read(content)

    def test_a_photo_with_previews_is_its_photo(self) -> None:
        photo = Image.fromarray(np.full((16, 16, 3), 200, np.uint8))
        content = saved(photo, "MPO", save_all=True, append_images=[photo])
        image = read_image(content, max_pixels=LIMIT)
        assert (image.format, image.width) == ("JPEG", 16)
