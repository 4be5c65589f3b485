"""Pages of TIFF files."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from server.errors import ImageTooLargeError, UnreadableImageError
from server.images import DecodedImage, read_images

SIZES = [(8, 12), (8, 12), (5, 9)]
REDUCED, MASK = 1, 4


def pages(kinds: dict[int, int] | None = None) -> tuple[bytes, list[Image.Image]]:
    """A TIFF of three random pages, and the pages; ``kinds`` gives some a NewSubfileType."""
    generator = np.random.default_rng(0)
    images = [Image.fromarray(generator.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in SIZES]
    for number, kind in (kinds or {}).items():
        tags = ImageFileDirectory_v2()
        tags[254] = kind
        images[number].encoderinfo = {"tiffinfo": tags}
    out = BytesIO()
    images[0].save(out, format="TIFF", save_all=True, append_images=images[1:])
    return out.getvalue(), images


def read(
    content: bytes, *, max_pixels: int = 1000, frames: int = 10, total: int = 1000
) -> list[DecodedImage]:
    return read_images(content, max_pixels=max_pixels, max_frames=frames, max_total_pixels=total)


def test_pages_in_their_order_and_sizes() -> None:
    content, images = pages()
    found = read(content)
    assert [frame.pixels.shape[:2] for frame in found] == SIZES
    for number, (frame, image) in enumerate(zip(found, images, strict=True)):
        assert (frame.pixels == np.asarray(image)).all()
        assert (frame.frame, frame.frames, frame.format) == (number, 3, "TIFF")
    assert len({frame.digest for frame in found}) == 1
    assert len({frame.key for frame in found}) == 3


@pytest.mark.parametrize("kind", [REDUCED, MASK])
def test_smaller_copies_and_transparency_masks_are_no_pages(kind: int) -> None:
    content, _ = pages({2: kind})
    assert len(read(content)) == 2


def test_one_frame_keeps_the_file_s_digest_as_its_key() -> None:
    out = BytesIO()
    Image.new("L", (4, 4)).save(out, format="TIFF")
    (only,) = read(out.getvalue())
    assert only.key == only.digest


def test_too_many_pages() -> None:
    with pytest.raises(ImageTooLargeError, match="3 frames or more; at most 2"):
        read(pages()[0], frames=2)


def test_too_many_pixels_in_all_pages() -> None:
    with pytest.raises(ImageTooLargeError, match="2 frames of the file have 192 pixels; at most 100 in all"):
        read(pages()[0], total=100)


def test_too_many_pixels_in_one_page() -> None:
    with pytest.raises(ImageTooLargeError, match="12 x 8 = 96 pixels"):
        read(pages()[0], max_pixels=95)


def test_where_one_frame_is_wanted_several_are_refused() -> None:
    with pytest.raises(UnreadableImageError, match="holds several images"):
        read(pages()[0], frames=1)


def test_an_animation_is_no_stack_of_pages() -> None:
    out = BytesIO()
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(out, format="PNG", save_all=True, append_images=frames[1:])
    with pytest.raises(UnreadableImageError, match="PNG file holds several images"):
        read(out.getvalue())


def test_a_page_cut_short() -> None:
    content, _ = pages()
    with pytest.raises(UnreadableImageError, match=r"cannot be decoded .* damaged"):
        read(content[:-20])
