"""What export needs to know of each family of models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from torch import Tensor

from models_store.backends.graphs import Graph
from models_store.errors import MismatchError
from models_store.vlsm import FrozenVLSM


@dataclass(frozen=True)
class FamilyParts:
    """Functions of a base model in torch.

    Attributes:
        graphs: Its steps, to export.
        words: Its token embedding [V, d_t].
        eos: Its end-of-text id, as its configuration says it.
        tokenizer: Its tokenizer.
        config: What besides the weights' digest and the spec makes it what it is, as JSON holds it.
    """

    graphs: Callable[[Any], list[Graph]]
    words: Callable[[Any], Tensor]
    eos: Callable[[Any], int]
    tokenizer: Callable[[Any], Any]
    config: Callable[[Any], Any]


FAMILIES = {"clipseg": "models_store.backends.clipseg_graphs"}


def family_parts(base: FrozenVLSM) -> FamilyParts:
    """The parts for a model's family.

    Raises:
        MismatchError: Its family cannot be exported.
    """
    if base.spec.family not in FAMILIES:
        raise MismatchError(
            f"{base.spec.name} is of the family {base.spec.family!r}; ONNX graphs are made of "
            f"{', '.join(sorted(FAMILIES))}; use the torch backend"
        )
    # A family's libraries are imported when one of its models is asked for.
    parts: FamilyParts = import_module(FAMILIES[base.spec.family]).PARTS
    return parts
