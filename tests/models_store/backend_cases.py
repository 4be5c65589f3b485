"""Exported tiny models, made once for all tests of backends."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from store_bases import tiny_base

from models_store.backends.building import Manifest, open_graphs
from models_store.backends.onnx_vlsm import OnnxVLSM
from models_store.clipseg.model import FrozenCLIPSeg

_folder = TemporaryDirectory()


def graphs_cache() -> Path:
    """The folder of graphs that these tests share."""
    return Path(_folder.name)


def base(*, hybrid: bool) -> FrozenCLIPSeg:
    """Four layers, of which the decoder reads three."""
    return tiny_base(hybrid=hybrid)


@cache
def exported(*, hybrid: bool, precision: str = "fp32") -> tuple[OnnxVLSM, Manifest]:
    """The same in ONNX Runtime."""
    return open_graphs(graphs_cache(), base(hybrid=hybrid), precision)
