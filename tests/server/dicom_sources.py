"""Images of every modality whose masks become DICOM Segmentations."""

from __future__ import annotations

from typing import Any

import numpy as np
from dicom_files import made, read, saved
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    MRImageStorage,
    OphthalmicPhotography8BitImageStorage,
    SecondaryCaptureImageStorage,
    UltrasoundImageStorage,
    UltrasoundMultiFrameImageStorage,
    VLEndoscopicImageStorage,
    VLMicroscopicImageStorage,
    VLPhotographicImageStorage,
    generate_uid,
)

from models_store.checkpoints import BaseIdentity
from server.images import DecodedImage
from server.schemas import UsedCheckpoint, Versions

# Class, modality, values and how they are shown.
MODALITIES: dict[str, tuple[str, str, str]] = {
    "CR": (ComputedRadiographyImageStorage, "CR", "MONOCHROME1"),
    "DX": (DigitalXRayImageStorageForPresentation, "DX", "MONOCHROME2"),
    "US": (UltrasoundImageStorage, "US", "RGB"),
    "US of one frame": (UltrasoundMultiFrameImageStorage, "US", "MONOCHROME2"),
    "SC": (SecondaryCaptureImageStorage, "OT", "PALETTE COLOR"),
    "endoscopy": (VLEndoscopicImageStorage, "ES", "RGB"),
    "microscopy": (VLMicroscopicImageStorage, "GM", "RGB"),
    "photograph": (VLPhotographicImageStorage, "XC", "YBR_FULL"),
    "fundus": (OphthalmicPhotography8BitImageStorage, "OP", "RGB"),
    "CT": (CTImageStorage, "CT", "MONOCHROME2"),
    "MR": (MRImageStorage, "MR", "MONOCHROME2"),
}
PLACED = ("CT", "MR")
# Two directions at right angles, none along an axis of the patient.
OBLIQUE = [0.8, 0.6, 0.0, -0.36, 0.48, 0.8]
POSITION = [-31.5, 12.25, 700.125]
SPACING = [0.7, 0.45]
SIZES = [(5, 7), (13, 9), (1, 11), (8, 16), (65, 33)]


def stored(kind: str, size: tuple[int, int], seed: int = 0) -> NDArray[np.generic]:
    """Stored values of a kind of image: the left top corner dark, the right bottom bright."""
    rows, columns = size
    ramp = np.add.outer(np.arange(rows) * columns, np.arange(columns)) / max(rows * columns - 1, 1)
    if MODALITIES[kind][2] in ("RGB", "YBR_FULL"):
        grey = (ramp * 255).astype(np.uint8)
        return np.stack([grey, np.full_like(grey, 128), np.full_like(grey, 128)], axis=-1)
    if MODALITIES[kind][2] == "PALETTE COLOR":
        return (ramp * 255).astype(np.uint8)
    return (ramp * 4095).astype(np.int16)


def source(kind: str, size: tuple[int, int] = (13, 9), **elements: Any) -> Dataset:
    """An image as a modality sends it, with patient and study."""
    sop_class, modality, interpretation = MODALITIES[kind]
    dataset = made(
        stored(kind, size),
        SOPClassUID=sop_class,
        Modality=modality,
        PhotometricInterpretation=interpretation,
        StudyInstanceUID=generate_uid(),
        SeriesInstanceUID=generate_uid(),
        PatientID="4711",
        PatientName="Curie^Marie",
        PatientBirthDate="18671107",
        PatientSex="F",
        AccessionNumber="A1",
        StudyID="S1",
        StudyDate="20260102",
        StudyTime="101112",
        StudyDescription="Follow-up",
        SeriesNumber=3,
        InstanceNumber=7,
    )
    dataset.file_meta.MediaStorageSOPClassUID = sop_class
    if interpretation == "PALETTE COLOR":
        _add_palette(dataset)
    if kind == "US of one frame":
        dataset.NumberOfFrames = 1
    if kind in PLACED:
        dataset.FrameOfReferenceUID = generate_uid()
        dataset.PositionReferenceIndicator = ""
        dataset.ImagePositionPatient, dataset.ImageOrientationPatient = POSITION, OBLIQUE
        dataset.PixelSpacing, dataset.SliceThickness = SPACING, 2.5
    for name, value in elements.items():
        setattr(dataset, name, value)
    return dataset


def _add_palette(dataset: Dataset) -> None:
    for colour in ("Red", "Green", "Blue"):
        descriptor, data = (
            f"{colour}PaletteColorLookupTableDescriptor",
            f"{colour}PaletteColorLookupTableData",
        )
        setattr(dataset, descriptor, [256, 0, 16])
        setattr(dataset, data, (np.arange(256, dtype="<u2") * 257).tobytes())
        dataset[descriptor].VR, dataset[data].VR = "US", "OW"


def decoded(dataset: Dataset) -> DecodedImage:
    return read(saved(dataset))


def masks(size: tuple[int, int], count: int, seed: int = 0) -> list[NDArray[np.bool_]]:
    """Random masks, no two alike."""
    generator = np.random.default_rng(seed)
    return [generator.random(size) > 0.2 + 0.5 * i / count for i in range(count)]


VERSIONS = Versions(
    base=BaseIdentity(name="clipseg-tiny-med", digest="9a41" * 16),
    dataset="busi",
    checkpoint=UsedCheckpoint(version="v0002", strategy="vpt", digest="c07e" * 16),
)
ZERO_SHOT = VERSIONS.model_copy(update={"dataset": None, "checkpoint": None})
