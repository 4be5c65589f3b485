"""Stored DICOM values to the colours a viewer would first show."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_windowing

from models_store.upright import as_rgb, scale, stretch
from server.errors import UnreadableImageError

Values = NDArray[np.generic]
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "YBR_PARTIAL_420")
GREY = ("MONOCHROME1", "MONOCHROME2")


def to_rgb(raw: Values, dataset: Dataset) -> NDArray[np.uint8]:
    """Apply what the file says about presentation.

    Args:
        raw: Decoded values [H, W] or [H, W, 3]; YBR is RGB by now.
        dataset: The file's elements.

    Returns:
        [H, W, 3] uint8.
    """
    interpretation = str(dataset.PhotometricInterpretation)
    if interpretation == "PALETTE COLOR":
        # Palettes of 16 bits are common, of 8 allowed; the entries' own type says which.
        return _to_bytes(apply_color_lut(raw, dataset)[..., :3])
    if interpretation in COLOUR and raw.ndim == 3:
        return _to_bytes(raw, int(dataset.BitsStored))
    if interpretation not in GREY or raw.ndim != 2:
        raise UnreadableImageError(
            f"DICOM photometric interpretation {interpretation!r} with values of shape {raw.shape} is not "
            f"supported; accepted are {', '.join((*GREY, *COLOUR, 'PALETTE COLOR'))}"
        )
    grey = _greys(raw, dataset)
    return as_rgb(255 - grey if interpretation == "MONOCHROME1" else grey)


def _to_bytes(values: Values, bits: int | None = None) -> NDArray[np.uint8]:
    bits = bits or values.dtype.itemsize * 8
    return scale(values, 0, 2**bits - 1) if bits != 8 else values.astype(np.uint8)


def _greys(raw: Values, dataset: Dataset) -> NDArray[np.uint8]:
    """VOI LUT first, then window, else percentiles; whichever leaves something to see."""
    for shown in (_voi_lut, _window):
        grey = shown(raw, dataset)
        if grey is not None and grey.min() != grey.max():
            return grey
    padding = dataset.get("PixelPaddingValue")
    counted = None if padding is None else raw != padding
    return stretch(_modality(raw, dataset), counted=counted)


def _modality(raw: Values, dataset: Dataset) -> Values:
    values: Values = apply_modality_lut(raw, dataset)
    return values


def _voi_lut(raw: Values, dataset: Dataset) -> NDArray[np.uint8] | None:
    tables = dataset.get("VOILUTSequence")
    if not tables or raw.dtype.kind not in "iu":
        return None
    # Not by pydicom, whose 8-bit tables wrap around after 256 entries.
    count, first, _ = (int(value) for value in tables[0].LUTDescriptor)
    entries = _entries(tables[0], count or 2**16, little=dataset.original_encoding[1] is not False)
    shown = scale(entries, float(entries.min()), float(entries.max()))

    def table(values: Values) -> NDArray[np.uint8]:
        whole = np.rint(_modality(values, dataset).astype(np.float64)).astype(np.int64)
        looked_up: NDArray[np.uint8] = shown[(whole - first).clip(0, len(shown) - 1)]
        return looked_up

    return _through(raw, table)


def _entries(table: Dataset, count: int, *, little: bool) -> Values:
    """A lookup table's entries: numbers, or bytes of one or two per entry."""
    data = table.LUTData
    if not isinstance(data, bytes):
        return np.asarray(data)[:count]
    if len(data) < 2 * count:
        return np.frombuffer(data, dtype=np.uint8)[:count]
    return np.frombuffer(data, dtype="<u2" if little else ">u2")[:count]


def _window(raw: Values, dataset: Dataset) -> NDArray[np.uint8] | None:
    centre, width = _first(dataset, "WindowCenter"), _first(dataset, "WindowWidth")
    if centre is None or width is None or width <= 0:
        return None
    linear = str(dataset.get("VOILUTFunction") or "LINEAR").upper() == "LINEAR"
    if linear and width < 1:
        return None
    # The standard leaves the output range open; what the window gives far outside is its black and white.
    far = np.array([centre - 100 * width, centre + 100 * width])
    black, white = (float(value) for value in apply_windowing(far, dataset))

    def window(values: Values) -> NDArray[np.uint8]:
        return scale(apply_windowing(_modality(values, dataset), dataset), black, white)

    return _through(raw, window)


def _first(dataset: Dataset, name: str) -> float | None:
    value = dataset.get(name)
    if value is None or value == "":
        return None
    number = float(value if isinstance(value, (int, float)) else value[0])
    return number if np.isfinite(number) else None


def _through(raw: Values, function: Callable[[Values], NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Apply a function of single values; of 16 bits or fewer each value is computed once."""
    if raw.dtype.kind not in "iu" or raw.dtype.itemsize > 2:
        return function(raw)
    low, high = int(raw.min()), int(raw.max())
    values = np.arange(low, high + 1).astype(raw.dtype)
    shown: NDArray[np.uint8] = function(values)[raw.astype(np.int32) - low]
    return shown
