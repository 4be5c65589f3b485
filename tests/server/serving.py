"""Helpers of the server's tests: published checkpoints, an application, files to send."""

from __future__ import annotations

import hashlib
import threading
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fastapi import FastAPI
from PIL import Image
from pydicom.data import get_testdata_file
from starlette.testclient import TestClient

from models_store.checkpoints import BaseIdentity, CheckpointConfig, NewCheckpoint, learner_tensors
from models_store.registry import Reference, Registry
from models_store.strategies import make_learner
from models_store.vlsm import FrozenVLSM
from server.app import create_app
from server.engine import Engine
from server.settings import Settings, read_settings


def publish(
    registry: Registry,
    vlsm: FrozenVLSM,
    dataset: str,
    strategy: str,
    *,
    seed: int = 1,
    spread: float = 1.0,
    base: BaseIdentity | None = None,
    threshold: float = 0.5,
) -> Reference:
    """Publish a version with random prompts, large enough to change every mask."""
    learner = make_learner(strategy, vlsm, depth=2, n=4, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.add_(spread * torch.randn(parameter.shape, generator=generator))
    pack = learner.fold()
    config = CheckpointConfig(
        strategy=strategy,
        depth=2,
        n=4,
        head=pack.head_mode,
        shift=pack.shift_form,
        base=base or BaseIdentity(name=vlsm.spec.name, digest=vlsm.spec.digest),
        preprocessing=vlsm.spec.preprocessing,
        threshold=threshold,
        labels=["breast tumour"],
        seed=seed,
        pack_digest=pack.digest,
    )
    evaluation = {"dice": 0.5, "val": {"dice": 0.5, "n": 3}, "images": [{"name": "a", "dice": 0.1}]}
    return registry.publish(
        dataset, NewCheckpoint(config, learner_tensors(learner), pack, evaluation, card="# A card\n")
    )


def make_app(vlsm: FrozenVLSM, data_dir: Path, **options: Any) -> tuple[FastAPI, Registry, Settings]:
    """An application on a base model and a data directory."""
    settings = read_settings(data_dir=data_dir, **options)
    registry = Registry(settings.registry_root)
    return create_app(engine=Engine(vlsm=vlsm, registry=registry), settings=settings), registry, settings


def png(height: int = 48, width: int = 70, seed: int = 0) -> bytes:
    """A PNG of coarse random colours."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    out = BytesIO()
    Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC).save(out, format="PNG")
    return out.getvalue()


def bundled_dicom(name: str) -> bytes:
    """One of the files that pydicom brings along."""
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str), f"pydicom no longer bundles {name}"
    return Path(path).read_bytes()


def tree(folder: Path) -> dict[str, str]:
    """Every path under a folder and the digest of its content."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in sorted(folder.rglob("*"))
    }


def wait_until_ready(client: TestClient) -> None:
    """Wait for the first mask, which a service makes for itself."""
    deadline = threading.Event()
    for _ in range(600):
        if client.get("/readyz").status_code == 200:
            return
        deadline.wait(0.05)
    pytest.fail("not ready within 30 seconds")
