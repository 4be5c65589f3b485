"""ONNX Runtime sessions: providers, threads, and tensors in and out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnxruntime  # type: ignore[import-untyped]
import torch
from torch import Tensor

from models_store.errors import BadInputError

CPU = "CPUExecutionProvider"
# From the fastest on; taken where this build of ONNX Runtime has them and a GPU was asked for.
GPU = ("TensorrtExecutionProvider", "CUDAExecutionProvider")


def providers_for(device: str) -> list[str]:
    """Execution providers for a device, best first.

    Raises:
        BadInputError: A GPU was asked for, and this build of ONNX Runtime knows none.
    """
    if device == "cpu":
        return [CPU]
    have = onnxruntime.get_available_providers()
    found = [name for name in GPU if name in have]
    if not found:
        raise BadInputError(
            f"ONNX Runtime for {device!r} needs the package onnxruntime-gpu; this one has {', '.join(have)}"
        )
    return [*found, CPU]


@dataclass(frozen=True)
class Session:
    """One graph, ready to run; safe to call from many threads."""

    session: onnxruntime.InferenceSession
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @classmethod
    def open(cls, path: Path, *, device: str, threads: int) -> Session:
        """Load a graph's file.

        Args:
            path: The file.
            device: ``cpu`` or ``cuda``.
            threads: Processor threads of one run.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        # Threads that spin while they wait take the processor from whoever decodes images.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(path), options, providers=providers_for(device))
        return cls(
            session, tuple(x.name for x in session.get_inputs()), tuple(x.name for x in session.get_outputs())
        )

    def width(self, name: str, axis: int) -> int:
        """Length of an input's fixed axis."""
        shape = next(x.shape for x in self.session.get_inputs() if x.name == name)
        return int(shape[axis])

    def run(self, outputs: list[str], **inputs: Tensor) -> list[Tensor]:
        """Run with named inputs; unknown names are left out."""
        feed = {
            name: value.detach().cpu().contiguous().numpy()
            for name, value in inputs.items()
            if name in self.inputs
        }
        return [torch.from_numpy(x) for x in self.session.run(outputs, feed)]
