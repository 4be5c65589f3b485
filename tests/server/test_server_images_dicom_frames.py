"""DICOM files of several frames, and what their frames may cost."""

from __future__ import annotations

import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from dicom_files import RAMP, bundled, made, read, read_all, saved
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.pixels import apply_color_lut
from pydicom.sequence import Sequence
from pydicom.uid import JPEGBaseline8Bit, RLELossless

from server.errors import ImageTooLargeError, UnreadableImageError
from server.images import jpeg12
from server.images.dicom_frames import compressed_frames

MEBIBYTE = 1024 * 1024


def stack(count: int, rows: int = 5, columns: int = 7) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, rows, columns), dtype=np.uint8)


def made_stack(values: NDArray[np.generic], **elements: object) -> Dataset:
    """A multi-frame image of stored values [N, H, W]."""
    first: NDArray[np.generic] = values[0]
    dataset = made(first, NumberOfFrames=len(values), **elements)
    dataset.PixelData = values.tobytes() + b"\0" * (values.nbytes % 2)
    return dataset


def shades(count: int) -> list[bytes]:
    """JPEG files of a black and a grey half, the next 20 brighter."""
    files = []
    for number in range(count):
        out = BytesIO()
        picture = np.zeros((8, 16), np.uint8)
        picture[:, 8:] = 100 + 20 * number
        Image.fromarray(picture).save(out, format="JPEG", quality=100)
        files.append(out.getvalue())
    return files


class TestFrames:
    def test_each_uncompressed_frame(self) -> None:
        values = stack(4)
        frames = read_all(saved(made_stack(values, WindowCenter=128, WindowWidth=256)))
        assert [frame.frame for frame in frames] == [0, 1, 2, 3]
        assert {frame.frames for frame in frames} == {4}
        for frame, stored in zip(frames, values, strict=True):
            assert np.abs(frame.pixels[..., 0].astype(int) - stored).max() <= 1

    def test_one_bit_frames_that_do_not_end_at_a_byte(self) -> None:
        values = stack(3) > 127
        dataset = made_stack(values.astype(np.uint8))
        dataset.BitsAllocated = dataset.BitsStored = 1
        dataset.HighBit = 0
        packed = np.packbits(values.ravel(), bitorder="little").tobytes()
        dataset.PixelData = packed + b"\0" * (len(packed) % 2)
        for frame, stored in zip(read_all(saved(dataset)), values, strict=True):
            assert (frame.pixels[..., 0] == stored * 255).all()

    @pytest.mark.parametrize("name", ["SC_rgb_rle_2frame.dcm", "SC_rgb_rle_16bit_2frame.dcm"])
    def test_rle_frames(self, name: str) -> None:
        first, second = read_all(bundled(name))
        (single,) = read_all(bundled(name.replace("_2frame", "")))
        assert (first.pixels == single.pixels).all()
        assert (second.pixels == 255 - single.pixels).all()

    def test_a_real_ultrasound_clip(self) -> None:
        frames = read_all(bundled("examples_ybr_color.dcm"), total=30 * 240 * 320)
        assert len(frames) == 30
        assert {frame.pixels.shape for frame in frames} == {(240, 320, 3)}
        assert not (frames[0].pixels == frames[15].pixels).all()

    @pytest.mark.parametrize("table", ["basic", "none", "extended"])
    def test_jpeg_frames_with_and_without_a_table_of_offsets(self, table: str) -> None:
        dataset = made(np.zeros((8, 16), np.uint8), NumberOfFrames=5, WindowCenter=128, WindowWidth=256)
        dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
        if table == "extended":
            data, offsets, lengths = encapsulate_extended(shades(5))
            dataset.PixelData = data
            dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = offsets, lengths
        else:
            dataset.PixelData = encapsulate(shades(5), has_bot=table == "basic", fragments_per_frame=2)
        dataset["PixelData"].VR = "OB"
        found = [int(frame.pixels[4, 12, 0]) for frame in read_all(saved(dataset))]
        assert np.abs(np.array(found) - [100, 120, 140, 160, 180]).max() <= 2

    def test_frames_keep_no_header_but_a_single_one_does(self) -> None:
        assert all(frame.header is None for frame in read_all(saved(made_stack(stack(2)))))
        assert read(saved(made())).header is not None


class TestFunctionalGroups:
    @staticmethod
    def item(**groups: dict[str, object]) -> Dataset:
        """An item of functional groups: each a name and its elements."""
        item = Dataset()
        for name, elements in groups.items():
            inner = Dataset()
            for keyword, value in elements.items():
                setattr(inner, keyword, value)
            setattr(item, name, Sequence([inner]))
        return item

    def test_each_frame_has_its_own_window_and_scale(self) -> None:
        dataset = made_stack(np.stack([RAMP, RAMP]))
        dataset.SharedFunctionalGroupsSequence = Sequence(
            [
                self.item(
                    PixelMeasuresSequence={"PixelSpacing": [0.5, 0.25]},
                    FrameVOILUTSequence={"WindowCenter": 2048, "WindowWidth": 4096},
                )
            ]
        )
        dataset.PerFrameFunctionalGroupsSequence = Sequence(
            [
                self.item(PixelValueTransformationSequence={"RescaleSlope": 1, "RescaleIntercept": 0}),
                self.item(
                    PixelValueTransformationSequence={"RescaleSlope": 1, "RescaleIntercept": -1024},
                    FrameVOILUTSequence={"WindowCenter": 1024, "WindowWidth": 4096},
                ),
            ]
        )
        first, second = read_all(saved(dataset))
        assert first.spacing == second.spacing == (0.5, 0.25)
        assert first.pixels.max() > 240
        # Both the values and the window are 1,024 lower.
        assert (first.pixels == second.pixels).all()

    def test_a_palette_serves_every_frame(self) -> None:
        dataset = dcmread(BytesIO(bundled("examples_palette.dcm")))
        stored = dataset.pixel_array
        dataset.NumberOfFrames = 2
        dataset.PixelData = np.stack([stored, stored[::-1]]).tobytes()
        dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
        first, second = read_all(saved(dataset))
        assert (first.pixels == second.pixels[::-1]).all()
        assert (first.pixels == (apply_color_lut(stored, dataset) >> 8).astype(np.uint8)).mean() > 0.5


class TestLimits:
    def test_too_many_frames(self) -> None:
        with pytest.raises(ImageTooLargeError, match="4 frames or more; at most 3"):
            read_all(saved(made_stack(stack(4))), frames=3)

    def test_too_many_pixels_in_all_frames(self) -> None:
        with pytest.raises(ImageTooLargeError, match=r"4 frames .* 140 pixels; at most 139 in all"):
            read_all(saved(made_stack(stack(4))), total=139)

    def test_a_count_is_refused_before_a_frame_is_decoded(self) -> None:
        with pytest.raises(ImageTooLargeError, match="1,000,000,000 frames or more"):
            read_all(saved(made(NumberOfFrames=1_000_000_000)))

    def test_a_negative_count(self) -> None:
        with pytest.raises(UnreadableImageError, match="says it has -3 frames"):
            read_all(saved(made(NumberOfFrames=-3)))

    def test_fewer_frames_than_said(self) -> None:
        dataset = made(np.zeros((8, 16), np.uint8), NumberOfFrames=6)
        dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
        dataset.PixelData = encapsulate(shades(5))
        with pytest.raises(UnreadableImageError, match="6 frames, but holds 5"):
            read_all(saved(dataset))

    def test_a_later_frame_of_another_size(self) -> None:
        out = BytesIO()
        Image.new("L", (900, 900)).save(out, format="JPEG")
        dataset = made(np.zeros((8, 16), np.uint8), NumberOfFrames=3)
        dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
        dataset.PixelData = encapsulate([*shades(2), out.getvalue()])
        with pytest.raises(UnreadableImageError, match="but its compressed image 900 x 900"):
            read_all(saved(dataset))

    def test_millions_of_empty_fragments(self) -> None:
        dataset = made()
        dataset.file_meta.TransferSyntaxUID = RLELossless
        dataset.PixelData = (b"\xfe\xff\x00\xe0" + bytes(4)) * 200_000
        dataset["PixelData"].VR = "OB"
        with pytest.raises(UnreadableImageError, match="in more than 100,000 fragments"):
            read(saved(dataset))


# A run of 128 zeros takes two bytes: 12 MiB of them ask for 768 MiB.
BOMB_BYTES, ROOM = 12 * MEBIBYTE, 256 * MEBIBYTE
CHILD = """
import resource, sys
from server.errors import UnreadableImageError
from server.images import read_image
content = open(sys.argv[1], "rb").read()
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[2]),) * 2)
try:
    print(read_image(content, max_pixels=1000).pixels.shape)
except UnreadableImageError as error:
    print("refused:", "memory" in str(error).lower(), error)
"""


@pytest.mark.parametrize("segments", ["one", "one and a short one"])
def test_an_rle_bomb_takes_no_memory(tmp_path: Path, segments: str) -> None:
    zeros = b"\x81\x00" * (BOMB_BYTES // 2)
    short = segments != "one"
    bits = 16 if short else 8
    offsets = [64, 64 + len(zeros)] if short else [64]
    head = np.array([len(offsets), *offsets, *[0] * (15 - len(offsets))], dtype="<u4").tobytes()
    dataset = made(np.zeros((8, 8), f"uint{bits}"))
    dataset.file_meta.TransferSyntaxUID = RLELossless
    dataset.PixelData = encapsulate([head + zeros + (b"\x01ab" if short else b"")])
    dataset["PixelData"].VR = "OB"
    path = tmp_path / "bomb.dcm"
    path.write_bytes(saved(dataset))
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(path), str(ROOM)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    if short:
        assert done.stdout.startswith("refused: False"), done.stdout
    else:
        assert done.stdout.strip() == "(8, 8, 3)"


def test_twelve_bit_jpeg() -> None:
    dataset = dcmread(BytesIO(bundled("JPGExtended.dcm")))
    stored = jpeg12.decode(next(compressed_frames(dataset, 1)), dataset)
    # Two values that pydicom's own tests know of this file, from another decoder.
    assert (stored[420, 140], stored[230, 120]) == (244, 95)
    dataset.WindowCenter, dataset.WindowWidth, dataset.VOILUTFunction = 128, 256, "LINEAR_EXACT"
    shown = read(saved(dataset)).pixels[..., 0]
    assert (shown == np.rint(stored * (255 / 256)).clip(0, 255)).mean() > 0.99


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [("uint8", (5, 7)), ("int16", (5, 7)), ("uint8", (4, 6, 3)), ("uint16", (4, 6, 3))],
)
def test_run_lengths_of_every_width(dtype: str, shape: tuple[int, ...]) -> None:
    limits = np.iinfo(dtype)
    values = np.random.default_rng(1).integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
    dataset = made(values)
    plain = read(saved(dataset)).pixels
    # pydicom's own encoder.
    dataset.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    assert (read(saved(dataset)).pixels == plain).all()
