"""Where a base model's graphs lie; needs no ONNX Runtime."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from models_store.backends.families import family_parts
from models_store.backends.graphs import FORMAT
from models_store.vlsm import FrozenVLSM

FP32, INT8 = "fp32", "int8"
MANIFEST = "manifest.json"


def graphs_folder(cache: Path, base: FrozenVLSM, precision: str) -> Path:
    """Where a base model's graphs lie in the cache.

    Its name tells apart weights, configurations, image sizes, formats and precisions.
    """
    config = family_parts(base).config(base)
    identity = {k: v for k, v in asdict(base.spec).items() if k != "name"} | {"config": config}
    known = hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()
    return cache / f"{base.spec.digest[:16]}-{known[:16]}-{FORMAT}-{precision}"


def is_built(cache: Path, base: FrozenVLSM, precision: str = FP32) -> bool:
    """Whether the graphs are there already."""
    return (graphs_folder(cache, base, precision) / MANIFEST).is_file()
