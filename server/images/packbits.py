"""RLE compressed DICOM frames (PS3.5 annex G), decoded into no more room than the picture takes.

A run of two bytes may ask for 128, and of the decoders at hand one gives as much as is asked for,
the other ends the thread when there is too much.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset

HEADER_BYTES, MAX_SEGMENTS = 64, 15


def unpack(frame: bytes, header: Dataset) -> bytes:
    """Decode one frame.

    Args:
        frame: Compressed.
        header: What the file says of it.

    Returns:
        Little-endian values, one plane per sample after the other.

    Raises:
        ValueError: Damaged.
    """
    samples, bits = int(header.get("SamplesPerPixel") or 1), int(header.BitsAllocated)
    if bits != 1 and (bits < 8 or bits % 8):
        raise ValueError(f"run lengths of values of {bits} bits")
    pixels, depth = int(header.Rows) * int(header.Columns), max(bits // 8, 1)
    size = (pixels + 7) // 8 if bits == 1 else pixels
    planes = [_unpacked(segment, size) for segment in _segments(frame, samples * depth)]
    # A segment holds one byte of every value; the most significant comes first.
    values = np.stack(planes).reshape(samples, depth, size)[:, ::-1].transpose(0, 2, 1)
    return values.tobytes()


def _segments(frame: bytes, expected: int) -> list[bytes]:
    if len(frame) < HEADER_BYTES:
        raise ValueError(f"run lengths of {len(frame)} bytes")
    count, *offsets = struct.unpack(f"<{1 + MAX_SEGMENTS}L", frame[:HEADER_BYTES])
    if count != expected:
        raise ValueError(f"{count} segments of run lengths where {expected} are needed")
    ends = [*offsets[1:count], len(frame)]
    return [frame[start:end] for start, end in zip(offsets[:count], ends, strict=True)]


def _unpacked(segment: bytes, size: int) -> NDArray[np.uint8]:
    # TIFF's scheme is the same; Pillow stops at the end of the line it was told of.
    line = Image.frombytes("L", (size, 1), segment, "packbits", "L")
    return np.asarray(line).ravel()
