"""What runs the model, in words for ``/capabilities``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from models_store.vlsm import FrozenVLSM


@dataclass(frozen=True)
class BackendReport:
    """What runs the model.

    Attributes:
        name: ``torch``, ``onnx`` or ``onnx-int8``.
        reason: Why this one.
        providers: ONNX Runtime's execution providers in use; empty for torch.
        max_error: Largest difference of logits to torch's at export, relative to the largest logit.
        int8_dice: Mean Dice of 8-bit masks against those in single precision, where it was measured.
        int8_images: On how many images.
    """

    name: str
    reason: str
    providers: tuple[str, ...] = ()
    max_error: float | None = None
    int8_dice: float | None = None
    int8_images: int | None = None


def describe(vlsm: FrozenVLSM) -> dict[str, Any]:
    """The report of a model, as JSON holds it."""
    report = getattr(vlsm, "backend", None)
    if not isinstance(report, BackendReport):
        report = BackendReport("torch", "loaded as it is")
    return asdict(report)
