"""A step of a frozen model as something to export: a module, example inputs, and which axes vary."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor, nn

# Goes up whenever a graph of the same base model would come out different.
FORMAT = 1

IMAGE, POOLED, TEXT, DECODER = "image", "pooled", "text", "decoder"


@dataclass(frozen=True)
class Graph:
    """One graph.

    Attributes:
        name: ``image``, ``pooled``, ``text`` or ``decoder``.
        module: Takes the inputs in order, gives the outputs in order.
        inputs: Names and examples; no varying axis of an example has length 0 or 1, which the
            exporter would take for constant.
        outputs: Names.
        varying: Of each input, which axes vary, and what they are called. Axes of one name have one
            length; ``n+5`` is five longer than ``n``.
    """

    name: str
    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: tuple[str, ...]
    varying: dict[str, dict[int, str]] = field(default_factory=dict)
