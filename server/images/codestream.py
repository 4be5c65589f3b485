"""Read sizes out of a compressed image's own header, before a decoder trusts them.

A DICOM header may say 10 x 10 over a codestream of 60,000 x 60,000, and decoders make room
for what the codestream says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

JPEG_START, J2K_START, JP2_BOX = b"\xff\xd8", b"\xff\x4f\xff\x51", b"jP  "
# Start-of-frame markers of JPEG and JPEG-LS; C4, C8 and CC are tables.
FRAME_MARKERS = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})


@dataclass(frozen=True)
class Codestream:
    """What a compressed image says of itself.

    Attributes:
        rows: Height in pixels.
        columns: Width in pixels.
        samples: Colour components.
        bits: Of a sample (of the first, in JPEG 2000).
    """

    rows: int
    columns: int
    samples: int
    bits: int


def read_codestream(frame: bytes) -> Codestream | None:
    """Read the header of a compressed frame.

    Returns:
        None where it is none of JPEG, JPEG-LS and JPEG 2000 (RLE has no size of its own: what
        it yields is cut to the file's).
    """
    if frame.startswith(JPEG_START):
        return _jpeg(frame)
    if frame[4:8] == JP2_BOX:
        at = frame.find(J2K_START)
        frame = frame[at:] if at >= 0 else b""
    if frame.startswith(J2K_START):
        right, bottom, left, top = (int.from_bytes(frame[8 + 4 * i : 12 + 4 * i], "big") for i in range(4))
        samples, bits = int.from_bytes(frame[40:42], "big"), (frame[42] & 0x7F) + 1
        return Codestream(bottom - top, right - left, samples, bits)
    return None


def _jpeg(frame: bytes) -> Codestream | None:
    for marker, at in _segments(frame):
        if marker in FRAME_MARKERS:
            rows = int.from_bytes(frame[at + 3 : at + 5], "big")
            columns = int.from_bytes(frame[at + 5 : at + 7], "big")
            return Codestream(rows, columns, samples=frame[at + 7], bits=frame[at + 2])
    return None


def _segments(frame: bytes) -> Iterator[tuple[int, int]]:
    """Markers and where their segments begin (at the length)."""
    at = 2
    while at + 4 <= len(frame) and frame[at] == 0xFF:
        if frame[at + 1] == 0xFF:
            at += 1
            continue
        yield frame[at + 1], at + 2
        at += 2 + int.from_bytes(frame[at + 2 : at + 4], "big")
