"""Graphs elsewhere: the written example, run as it is without torch or this package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from backend_cases import base, exported, graphs_cache

from models_store.backends.places import graphs_folder
from models_store.backends.portable import PHRASES, write_portable

BLOCKED = "import sys; sys.modules.update(dict.fromkeys(('torch', 'models_store', 'transformers'))); "


@pytest.mark.parametrize("hybrid", [False, True], ids=["plain", "hybrid"])
def test_the_example_gives_our_logits_without_torch(hybrid: bool, tmp_path: Path) -> None:
    model = base(hybrid=hybrid)
    _, manifest = exported(hybrid=hybrid)
    out = tmp_path / "new" / "graphs"
    write_portable(graphs_folder(graphs_cache(), model, "fp32"), manifest, model, out)
    picture = np.random.default_rng(0).random((3, 64, 64), dtype=np.float32)
    np.save(tmp_path / "picture.npy", picture)
    # As `python example.py picture.npy`, with these packages made impossible to import.
    run = (
        f"import runpy; sys.argv = ['example.py', 'picture.npy']; runpy.run_path({str(out / 'example.py')!r})"
    )
    said = subprocess.run(
        [sys.executable, "-c", BLOCKED + run], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout.count("of the image") == len(PHRASES)
    masks = np.load(tmp_path / "masks.npz")
    pixels = torch.from_numpy((picture - 0.5) / 0.5)[None]
    for phrase in PHRASES:
        decoded = model.decode(model.encode_image(pixels), model.encode_text(model.tokenize([phrase])))
        np.testing.assert_allclose(masks[phrase], decoded.logits[0, 0], rtol=1e-4, atol=1e-4)
    readme = (out / "README.md").read_text()
    assert f"weights {model.spec.digest}" in readme
    assert "[B, 3, 64, 64]" in readme
