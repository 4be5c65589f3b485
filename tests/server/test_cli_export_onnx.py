from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from models_store.backends.gate import known_figure
from models_store.backends.places import graphs_folder
from models_store.bases import load_base
from models_store.errors import BadInputError, MismatchError
from server.cli.common import open_backend
from server.cli.export_onnx import export_onnx
from server.settings import read_settings

app = typer.Typer()
app.command()(export_onnx)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to do"),
        (["--out", "."], "exists already"),
        (["--measure", "."], "needs phrases"),
    ],
)
def test_refusals(arguments: list[str], message: str) -> None:
    said = CliRunner().invoke(app, ["clipseg-tiny-med", *arguments])
    assert isinstance(said.exception, BadInputError)
    assert message in str(said.exception)


def test_write_measure_and_serve_with_8_bits(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNEVLSEG_CACHE_DIR", str(tmp_path / "cache"))
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    random = np.random.default_rng(0)
    for index in range(4):
        noise = random.integers(0, 255, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(noise).save(pictures / f"{index}.png")
    settings = read_settings(base=str(tiny_folder), data_dir=tmp_path, backend="onnx-int8", device="cpu")
    with pytest.raises(MismatchError, match="has not been measured"):
        open_backend(settings, may_export=True)

    out = tmp_path / "graphs"
    arguments = [str(tiny_folder), "--out", str(out), "--int8", "--measure", str(pictures)]
    said = CliRunner().invoke(app, [*arguments, "--prompt", "liver", "--prompt", "polyp"])
    assert said.exception is None, said.output
    assert "image.onnx" in said.output
    assert {p.name for p in out.iterdir()} >= {"image.onnx", "text.onnx", "README.md", "example.py"}
    assert "int8" in (out / "README.md").read_text()

    base = load_base(str(tiny_folder))
    figure = known_figure(base.spec.digest, graphs_folder(settings.graphs_root, base, "int8"))
    assert figure is not None
    assert figure.images + figure.empty == 4
    assert f"mean Dice {figure.mean_dice:.4f}" in said.output
    if figure.passes:
        assert open_backend(settings, may_export=True)[0].spec == base.spec
    else:
        with pytest.raises(MismatchError, match=f"is {figure.mean_dice:.4f} on {figure.images} images"):
            open_backend(settings, may_export=True)

    # Graphs that are there are used by commands that would not wait for them to be made.
    chosen, device = open_backend(settings.model_copy(update={"backend": "onnx"}), may_export=False)
    assert str(device) == "cpu"
    assert chosen.spec.digest == base.spec.digest
