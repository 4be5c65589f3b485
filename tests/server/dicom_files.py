"""DICOM files for tests: the bundled ones of pydicom, and small ones made on the spot."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, FileMetaDataset
from pydicom.data import get_testdata_file
from pydicom.uid import (
    ExplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from server.images import DecodedImage, read_image, read_images

LIMIT = 1_000_000
RAMP = np.arange(64, dtype=np.uint16).reshape(8, 8) * 64


def bundled(name: str) -> bytes:
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str), f"pydicom no longer bundles {name}"
    return Path(path).read_bytes()


def read(content: bytes) -> DecodedImage:
    return read_image(content, max_pixels=LIMIT)


def read_all(
    content: bytes, *, pixels: int = LIMIT, frames: int = 100, total: int = LIMIT
) -> list[DecodedImage]:
    return read_images(content, max_pixels=pixels, max_frames=frames, max_total_pixels=total)


def grey(content: bytes) -> NDArray[np.uint8]:
    pixels = read(content).pixels
    assert (pixels == pixels[..., :1]).all()
    return pixels[..., 0]


def saved(dataset: Dataset) -> bytes:
    out = BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def made(values: NDArray[np.generic] = RAMP, **elements: object) -> Dataset:
    """A valid image of given stored values; further elements by keyword."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID
    dataset.Rows, dataset.Columns = values.shape[:2]
    dataset.SamplesPerPixel = 3 if values.ndim == 3 else 1
    if values.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = "RGB" if values.ndim == 3 else "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = values.dtype.itemsize * 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    dataset.PixelData = values.tobytes()
    for name, value in elements.items():
        setattr(dataset, name, value)
    return dataset
