"""Exported tiny models, made once for all tests of backends."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from store_bases import frozen, tiny_base
from tiny_models import tiny_config

from models_store.backends.building import Manifest, open_graphs
from models_store.backends.onnx_vlsm import OnnxVLSM
from models_store.clipseg.model import FrozenCLIPSeg

_folder = TemporaryDirectory()


def graphs_cache() -> Path:
    """The folder of graphs that these tests share."""
    return Path(_folder.name)


@cache
def base(*, hybrid: bool) -> FrozenCLIPSeg:
    """A hybrid of four layers or a plain one of five, of which the decoder reads three."""
    return tiny_base(hybrid=True) if hybrid else frozen(tiny_config(layers=5), "plain")


@cache
def exported(*, hybrid: bool, precision: str = "fp32") -> tuple[OnnxVLSM, Manifest]:
    """The same in ONNX Runtime."""
    return open_graphs(graphs_cache(), base(hybrid=hybrid), precision)
