"""JPEG of 12 bits per sample (process 4), which pydicom has no permissively licensed decoder for.

GDCM decodes it; pydicom does not ask it to.
"""

from __future__ import annotations

import gdcm  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from server.errors import UnreadableImageError

BITS = 12


def decode(frame: bytes, header: Dataset) -> NDArray[np.uint16]:
    """Decode one grey frame.

    GDCM tries its decoder of 8 bits first, which says so on the process's standard error.

    Args:
        frame: The codestream; its size is what ``header`` says.
        header: The elements of the file.

    Returns:
        [H, W].

    Raises:
        UnreadableImageError: In colour, or said to hold other values than 12 bits without sign.
        RuntimeError: Damaged.
    """
    said = [
        int(header.get(name) or 0) for name in ("SamplesPerPixel", "BitsAllocated", "PixelRepresentation")
    ]
    if said != [1, 16, 0]:
        raise UnreadableImageError(
            f"the DICOM file's JPEG of {BITS} bits has samples per pixel, bits allocated and pixel "
            f"representation {said}; [1, 16, 0] are accepted"
        )
    rows, columns = int(header.Rows), int(header.Columns)
    data = _image(frame, rows, columns).GetBuffer().encode("utf-8", "surrogateescape")
    if len(data) != rows * columns * 2:
        raise RuntimeError(f"{len(data):,} bytes came out where {rows * columns * 2:,} should")
    return np.frombuffer(data, dtype="<u2").reshape(rows, columns).astype(np.uint16)


def _image(frame: bytes, rows: int, columns: int) -> gdcm.Image:
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(frame)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((columns, rows, 1))
    image.SetDataElement(element)
    image.SetPhotometricInterpretation(
        gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.MONOCHROME2)
    )
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGExtendedProcess2_4))
    image.SetPixelFormat(gdcm.PixelFormat(1, 16, BITS, BITS - 1, 0))
    return image
