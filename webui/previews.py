"""A small picture of a file before it is segmented.

The picture shown with a result comes from the server, which decodes the file as the model saw it.
This one only helps to recognise the file; what it cannot show is left to the server to judge.
"""

from __future__ import annotations

import io
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image, ImageOps
from pydicom.encaps import get_frame
from pydicom.filereader import read_file_meta_info
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.uid import DeflatedExplicitVRLittleEndian

# Beyond this a preview costs more memory than it is worth; the server has its own limit.
MAX_PIXELS = 50_000_000

logger = logging.getLogger(__name__)


def preview_png(path: Path, *, side: int) -> bytes | None:
    """Render a file so that it fits into a square.

    Args:
        path: An image or a DICOM file, or anything else.
        side: Largest width and height in pixels.

    Returns:
        A PNG, or None where the file cannot be shown.
    """
    with warnings.catch_warnings():
        # Vendors' small irregularities are the server's to report.
        warnings.simplefilter("ignore")
        try:
            image = _dicom(path) if _is_dicom(path) else _picture(path)
            if image is None:
                return None
            image.thumbnail((side, side))
            buffer = io.BytesIO()
            image.save(buffer, "PNG")
        except Exception as error:
            # Decoders raise whatever they like on files that are cut short or of another kind.
            logger.info("no preview of %s: %s", path.name, error)
            return None
    return buffer.getvalue()


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def _picture(path: Path) -> Image.Image | None:
    with Image.open(path) as opened:
        if opened.width * opened.height > MAX_PIXELS:
            return None
        if opened.mode.startswith(("I", "F")):
            return Image.fromarray(_stretch(np.asarray(opened)))
        return ImageOps.exif_transpose(opened).convert("RGB")


def _dicom(path: Path) -> Image.Image | None:
    # A deflated file is inflated whole on reading, whatever its size.
    if read_file_meta_info(path).TransferSyntaxUID == DeflatedExplicitVRLittleEndian:
        return None
    dataset = pydicom.dcmread(path)
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames > 1 or dataset.Rows * dataset.Columns > MAX_PIXELS or not _size_is_true(dataset):
        return None
    pixels = dataset.pixel_array
    interpretation = str(dataset.PhotometricInterpretation)
    if interpretation.startswith("MONOCHROME"):
        grey = _stretch(apply_voi_lut(apply_modality_lut(pixels, dataset), dataset))
        return Image.fromarray(255 - grey if interpretation == "MONOCHROME1" else grey)
    # pydicom has turned compressed colour into RGB, but leaves uncompressed YBR to the caller.
    compressed = dataset.file_meta.TransferSyntaxUID.is_compressed
    if interpretation == "RGB" or (compressed and interpretation.startswith("YBR")):
        return Image.fromarray(pixels.astype(np.uint8))
    return None


def _size_is_true(dataset: pydicom.Dataset) -> bool:
    """Whether a compressed frame is as large as the header says, so that decoding it is affordable."""
    if not dataset.file_meta.TransferSyntaxUID.is_compressed:
        return True
    frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    with Image.open(io.BytesIO(frame)) as opened:
        return bool(opened.size == (dataset.Columns, dataset.Rows))


def _stretch(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Spread [H, W] values of any range over 0..255."""
    low, high = float(values.min()), float(values.max())
    scaled = (values.astype(np.float64) - low) / max(high - low, 1e-9)
    return np.asarray(np.rint(scaled * 255), dtype=np.uint8)
