"""Shared fixtures: a tiny random base model, and the labelled data where it is present."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from models_store.torchvision_shim import ensure_torchvision_imports

# Exporting graphs takes longer than most tests; those about backends ask for it.
os.environ.setdefault("TUNEVLSEG_BACKEND", "torch")
# Servers in tests start no worker unless a test asks for one.
os.environ.setdefault("TUNEVLSEG_WORKER", "false")

# Before transformers' models, which import torchvision where it is installed.
ensure_torchvision_imports()

from tiny_models import tiny_config, write_base  # noqa: E402

from models_store.bases import load_base  # noqa: E402
from models_store.vlsm import FrozenVLSM  # noqa: E402

pytest_plugins = ("services.fixtures",)

REPOSITORY = Path(__file__).parent.parent
SHARED_DATA = Path(os.environ.get("TUNEVLSEG_TEST_DATA", REPOSITORY.parent / "shared" / "data"))


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Tiny tensors are slower on many threads, and other processes want the cores too."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of labelled datasets; tests that need it are skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no labelled data at {SHARED_DATA} (set TUNEVLSEG_TEST_DATA)")
    return SHARED_DATA


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny plain CLIPSeg in the hub's layout."""
    return write_base(tmp_path_factory.mktemp("bases") / "tiny", tiny_config())


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> FrozenVLSM:
    """The tiny base model, loaded."""
    return load_base(str(tiny_folder))


@pytest.fixture(scope="session")
def tiny_hybrid(tmp_path_factory: pytest.TempPathFactory) -> FrozenVLSM:
    """A tiny CLIPSeg with the convolutional stem."""
    return load_base(str(write_base(tmp_path_factory.mktemp("bases") / "hybrid", tiny_config(hybrid=True))))
