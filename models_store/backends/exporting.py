"""Graphs to ONNX files, in single precision or with matrix products on 8-bit integers."""

from __future__ import annotations

import logging
import warnings
from inspect import signature
from pathlib import Path
from typing import Any

import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic  # type: ignore[import-untyped]

from models_store.backends.graphs import Graph
from models_store.errors import MismatchError

OPSET = 20
# Says that nothing is to be prepared before quantisation; else ONNX Runtime sets up logging to complain.
_PREPARED = ("onnx.quant.pre_process", "onnxruntime.quant")


def export_graph(graph: Graph, path: Path) -> None:
    """Write a graph in single precision; its operators are ONNX's and ONNX Runtime's own.

    Raises:
        MismatchError: torch cannot export it.
    """
    lengths = {length for varying in graph.varying.values() for length in varying.values()}
    roots = {length: torch.export.Dim(length) for length in lengths if "+" not in length}
    axes: dict[str, Any] = dict(roots)
    for length in lengths - set(roots):
        root, _, more = length.partition("+")
        axes[length] = roots[root] + int(more)
    shapes: list[Any] = [
        {axis: axes[name] for axis, name in graph.varying.get(key, {}).items()} for key in graph.inputs
    ]
    # Several inputs may be one argument of the module.
    named = [
        p for p in signature(graph.module.forward).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD
    ]
    if len(named) < len(shapes):
        shapes = [*shapes[: len(named)], tuple(shapes[len(named) :])]
    exporter_log = logging.getLogger("torch.onnx")
    level = exporter_log.level
    exporter_log.setLevel(logging.ERROR)
    try:
        # The exporter warns of its own coming changes, about which a user can do nothing.
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                graph.module,
                tuple(graph.inputs.values()),
                dynamo=True,
                input_names=list(graph.inputs),
                output_names=list(graph.outputs),
                dynamic_shapes=tuple(shapes),
                opset_version=OPSET,
                verbose=False,
            )
            if program is None:
                raise RuntimeError("nothing came of it")
            program.save(path)
    except RuntimeError as error:
        # The exporter's own errors are of this kind, and pages long.
        raise MismatchError(
            f"the {graph.name} graph cannot be exported ({str(error).strip()[:200]}); use the torch backend"
        ) from error
    finally:
        exporter_log.setLevel(level)


def quantise(source: Path, target: Path) -> None:
    """Write a graph whose products with constant matrices work on 8-bit integers.

    Weights have a scale per output channel; activations get theirs as they come.
    """
    model = onnx.load(source)
    entry = model.metadata_props.add()
    entry.key, entry.value = _PREPARED
    quantize_dynamic(
        model,
        target,
        op_types_to_quantize=["MatMul"],
        per_channel=True,
        weight_type=QuantType.QInt8,
        extra_options={"MatMulConstBOnly": True},
    )
