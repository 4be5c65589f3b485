"""Which backend runs a base model."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import torch

from models_store.backends.families import FAMILIES
from models_store.backends.gate import LEAST_DICE, known_figure
from models_store.backends.places import FP32, INT8, graphs_folder, is_built
from models_store.backends.report import BackendReport
from models_store.backends.torch_vlsm import TorchVLSM
from models_store.errors import BadInputError, MismatchError, StudioError
from models_store.vlsm import FrozenVLSM

AUTO, TORCH, ONNX, ONNX_INT8 = "auto", "torch", "onnx", "onnx-int8"
BACKENDS = (AUTO, TORCH, ONNX, ONNX_INT8)
AUTOCAST = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


class PlacedVLSM(FrozenVLSM, Protocol):
    """A frozen model that says where its tensors are, and what runs it."""

    backend: BackendReport

    @property
    def device(self) -> torch.device:
        """Where tensors for it go."""


def choose_backend(
    base: FrozenVLSM,
    asked: str = AUTO,
    *,
    cache: Path,
    device: str = "cpu",
    threads: int | None = None,
    may_build: bool = True,
    precision: str = "float32",
    compiled: bool = False,
) -> PlacedVLSM:
    """The base model behind the backend that was asked for, or that is fastest at equal masks.

    ``auto`` means torch on a GPU. On the processor it means ONNX Runtime in single precision where it
    is installed, its graphs are verified and were no slower than torch when they were made; else torch.
    8-bit integers change masks, if little, and so are never chosen unasked.

    Args:
        base: The model in torch; on the processor for ONNX.
        asked: One of :data:`BACKENDS`.
        cache: Folder of all exported graphs.
        device: ``cpu`` or ``cuda``.
        threads: Of one run in ONNX Runtime; None takes as many as torch does.
        may_build: Whether ``auto`` may spend the time to export graphs that are not there yet.
        precision: Of torch on a GPU: ``float32``, ``bfloat16`` or ``float16``.
        compiled: Whether torch compiles.

    Raises:
        BadInputError: No such backend or precision, or what it needs is not installed.
        MismatchError: Graphs cannot be made of this model, differ from it, or its 8-bit masks are
            not known to be good enough.
    """
    if asked not in BACKENDS:
        raise BadInputError(f"no backend {asked!r}; there are: {', '.join(BACKENDS)}")
    if precision not in AUTOCAST:
        raise BadInputError(f"no precision {precision!r}; there are: {', '.join(AUTOCAST)}")
    if asked == AUTO:
        why_not = _why_not_onnx(base, cache, device, may_build)
        if not why_not:
            try:
                chosen, manifest = _open(base, cache, FP32, device, threads)
            # Whatever keeps the faster way from working, the other one does.
            except (StudioError, RuntimeError, OSError) as error:
                why_not = f"ONNX graphs could not be used: {str(error)[:300]}"
            else:
                if manifest.torch_time >= 1:
                    reason = f"verified; {manifest.torch_time:.2f} times as fast as torch when exported here"
                    return _with(chosen, reason=reason)
                why_not = f"ONNX Runtime took {1 / manifest.torch_time:.2f} times torch's time when exported"
        return _torch(base, why_not, device, precision, compiled)
    if asked == TORCH:
        return _torch(base, "asked for", device, precision, compiled)
    if missing := _missing():
        raise BadInputError(f"backend {asked!r} needs {missing}: pip install 'tunevlseg-studio[onnx]'")
    if asked == ONNX:
        return _open(base, cache, FP32, device, threads)[0]
    return _gated(base, cache, device, threads)


def _torch(base: FrozenVLSM, reason: str, device: str, precision: str, compiled: bool) -> TorchVLSM:
    # Lower precision does not pay on a processor and changes masks.
    autocast = AUTOCAST[precision] if device.startswith("cuda") else None
    said = precision if autocast else "float32"
    report = BackendReport(TORCH, f"{reason} ({said}{', compiled' if compiled else ''})")
    return TorchVLSM(base, report, autocast=autocast, compiled=compiled)


def _missing() -> str:
    return ", ".join(name for name in ("onnx", "onnxruntime", "onnxscript") if find_spec(name) is None)


def _why_not_onnx(base: FrozenVLSM, cache: Path, device: str, may_build: bool) -> str:
    if device != "cpu":
        return "the device is a GPU"
    if missing := _missing():
        return f"{missing} not installed"
    if base.spec.family not in FAMILIES:
        return f"no ONNX graphs are made of the family {base.spec.family!r}"
    if not may_build and not is_built(cache, base):
        return "no ONNX graphs have been made yet"
    return ""


def _open(base: FrozenVLSM, cache: Path, precision: str, device: str, threads: int | None) -> tuple[Any, Any]:
    # ONNX Runtime is an extra.
    building = import_module("models_store.backends.building")
    opened: tuple[Any, Any] = building.open_graphs(cache, base, precision, device=device, threads=threads)
    return opened


def _gated(base: FrozenVLSM, cache: Path, device: str, threads: int | None) -> PlacedVLSM:
    figure = known_figure(base.spec.digest, graphs_folder(cache, base, INT8))
    if figure is None or not figure.passes:
        found = (
            "has not been measured"
            if figure is None
            else f"is {figure.mean_dice:.4f} on {figure.images} images ({figure.source})"
        )
        raise MismatchError(
            f"8-bit masks of {base.spec.name} are served only if their mean Dice against single precision "
            f"is at least {LEAST_DICE}; it {found}. Measure it with `tunevlseg export-onnx --measure`, or "
            f"use the backend {ONNX!r}"
        )
    chosen, _ = _open(base, cache, INT8, device, threads)
    return _with(chosen, reason="asked for", int8_dice=figure.mean_dice, int8_images=figure.images)


def _with(vlsm: Any, **facts: Any) -> PlacedVLSM:
    vlsm.backend = replace(vlsm.backend, **facts)
    chosen: PlacedVLSM = vlsm
    return chosen
