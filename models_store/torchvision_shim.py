"""Let a CUDA-built torchvision be imported beside a CPU build of torch.

transformers and open_clip import torchvision wherever it is installed. The wheel on the
package index carries compiled CUDA operators; beside CPU torch they do not load, and the
import dies on "operator torchvision::nms does not exist". Nothing here uses those
operators, so empty schemas are enough.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Final

import torch

_SCHEMAS: Final = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
# A library's definitions live as long as the object does.
_libraries: list[torch.library.Library] = []


def ensure_torchvision_imports() -> None:
    """Import torchvision if it is installed, defining the missing schemas where it must be."""
    if "torchvision" in sys.modules or importlib.util.find_spec("torchvision") is None:
        return
    try:
        importlib.import_module("torchvision")
        return
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "DEF")
    for schema in _SCHEMAS:
        library.define(schema)
    _libraries.append(library)
    importlib.import_module("torchvision")
