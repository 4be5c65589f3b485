"""Millimetres per pixel, where a DICOM file says so plainly."""

from __future__ import annotations

import math

from pydicom import Dataset

# Ultrasound region calibration, PS3.3 C.8.5.5: a 2D region measured in centimetres.
TISSUE_2D, CENTIMETRES = 1, 3
MILLIMETRES = 10.0


def pixel_spacing(dataset: Dataset) -> tuple[float, float] | None:
    """Millimetres between rows and between columns, or None.

    PixelSpacing first; then ImagerPixelSpacing, which is measured at the detector and so
    larger than in the patient; then an ultrasound image's calibration, if it has a single region.
    """
    for name in ("PixelSpacing", "ImagerPixelSpacing"):
        values = dataset.get(name)
        if values is not None and not isinstance(values, str) and len(values) == 2:
            return _plausible(values[0], values[1])
    regions = dataset.get("SequenceOfUltrasoundRegions") or []
    if len(regions) != 1:
        return None
    region = regions[0]
    units = (region.get("PhysicalUnitsXDirection"), region.get("PhysicalUnitsYDirection"))
    if region.get("RegionSpatialFormat") != TISSUE_2D or units != (CENTIMETRES, CENTIMETRES):
        return None
    down, across = region.get("PhysicalDeltaY"), region.get("PhysicalDeltaX")
    if down is None or across is None:
        return None
    # The sign says where the region's axes point.
    return _plausible(abs(down) * MILLIMETRES, abs(across) * MILLIMETRES)


def _plausible(down: float, across: float) -> tuple[float, float] | None:
    spacing = (float(down), float(across))
    return spacing if all(math.isfinite(value) and value > 0 for value in spacing) else None
