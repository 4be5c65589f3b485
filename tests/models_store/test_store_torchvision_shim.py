"""A torchvision whose compiled operators are missing, and others that are not the shim's business."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from models_store import torchvision_shim
from models_store.torchvision_shim import ensure_torchvision_imports

# What the real one does on import: it describes operators that its compiled library should define.
NEEDS_SCHEMAS = """
import torch
from torchvision import other

@torch.library.register_fake("torchvision::nms")
def nms(dets, scores, iou_threshold): ...

__version__ = "0.20.0"
"""
PROGRAM = """
import sys
try:
    import torchvision
except RuntimeError as error:
    print("before:", error)
import models_store.clipseg
print("transformers" in sys.modules)
import torchvision, torchvision.other
from models_store.torchvision_shim import ensure_torchvision_imports
ensure_torchvision_imports()
print("after:", torchvision.__version__, torchvision.other.value)
"""


def install(path: Path, content: str) -> None:
    """A package ``torchvision`` with this content."""
    package = path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text(content)
    (package / "other.py").write_text("value = 7\n")


def test_one_without_its_operators_imports_before_transformers_asks_for_it(tmp_path: Path) -> None:
    install(tmp_path, NEEDS_SCHEMAS)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    before, transformers_came_first, after = done.stdout.splitlines()
    assert before == "before: operator torchvision::nms does not exist"
    assert transformers_came_first == "False"
    assert after == "after: 0.20.0 7"


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder first on this process's path, as if torchvision had never been imported."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    # Taken back together with what a test imports.
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.delitem(sys.modules, "torchvision")
    return tmp_path


def test_a_working_one_is_left_alone(fresh: Path) -> None:
    install(fresh, '__version__ = "1"\n')
    defined = list(torchvision_shim._libraries)
    ensure_torchvision_imports()
    assert sys.modules["torchvision"].__version__ == "1"
    assert torchvision_shim._libraries == defined


def test_an_imported_one_is_left_alone(fresh: Path) -> None:
    install(fresh, "raise RuntimeError('operator torchvision::nms does not exist')\n")
    imported = type(sys)("torchvision")
    sys.modules["torchvision"] = imported
    ensure_torchvision_imports()
    assert sys.modules["torchvision"] is imported


@pytest.mark.parametrize("fault", [RuntimeError("of another kind"), ImportError("no libjpeg")])
def test_other_faults_are_not_hidden(fresh: Path, fault: Exception) -> None:
    install(fresh, f"raise {fault!r}\n")
    with pytest.raises(type(fault), match=str(fault)):
        ensure_torchvision_imports()
