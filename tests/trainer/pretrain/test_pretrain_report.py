import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from tiny_models import byte_tokenizer, tiny_config, write_base

from models_store.bases import load_base
from models_store.digests import file_digest
from trainer.pretrain.absence import Absence, AbsenceFigure, measure_absence
from trainer.pretrain.recipe import DatasetRow, Recipe, read_recipe
from trainer.pretrain.report import judge_and_describe


@pytest.fixture
def recipe() -> Recipe:
    rows = tuple(DatasetRow(name, 1.0, "any", (0.9, 1.1), ()) for name in ("discs", "boxes"))
    return dataclasses.replace(read_recipe(), name="tiny", datasets=rows)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two datasets of three images, only with a val split: reading train would fail."""
    for name, phrase in (("discs", "disc"), ("boxes", "box")):
        folder = tmp_path / "data" / name
        for part in ("images", "masks", "anns"):
            (folder / part).mkdir(parents=True)
        entries = []
        for i in range(3):
            pixels = np.random.default_rng(i).integers(0, 255, (40 + i, 52, 3), dtype=np.uint8)
            mask = np.zeros((40 + i, 52), np.uint8)
            mask[5:20, 10:30] = 255
            Image.fromarray(pixels).save(folder / "images" / f"{i}.png")
            Image.fromarray(mask).save(folder / "masks" / f"{i}.png")
            prompts = {"p0": "", "p1": phrase}
            entries.append({"img_name": f"{i}.png", "mask_name": f"{i}.png", "prompts": prompts})
        (folder / "anns" / "val.json").write_text(json.dumps(entries))
        said = {"attribution": f"makers of {name}", "licence_for_weights": "CC0"}
        (folder / "dataset.json").write_text(json.dumps(said))
    return tmp_path / "data"


def test_absence_counts_every_wrong_question(recipe: Recipe, data: Path, tmp_path: Path):
    base = load_base(str(write_base(tmp_path / "base", tiny_config(hybrid=True))))
    bias = base.network.decoder.transposed_convolution.logit.bias
    things = len(recipe.absent_held_out)
    bias.data.fill_(-1e4)
    nothing = measure_absence(base, recipe, data)
    assert nothing["discs"] == Absence(AbsenceFigure(3, 3), AbsenceFigure(3 * things, 3 * things))
    bias.data.fill_(1e4)
    everything = measure_absence(base, recipe, data)
    assert everything["boxes"] == Absence(AbsenceFigure(0, 3), AbsenceFigure(0, 3 * things))
    assert (nothing["discs"] + everything["boxes"]).other_classes.share == 0.5


def test_a_model_is_measured_and_described(recipe: Recipe, data: Path, tmp_path: Path):
    folder = write_base(tmp_path / "bases" / "tiny", tiny_config(hybrid=True))
    byte_tokenizer().save_pretrained(folder)
    figures = judge_and_describe(
        recipe, data=data, parent=tmp_path / "bases", device="cpu", console=Console(quiet=True)
    )
    digest = file_digest(folder / "model.safetensors")
    assert json.loads((tmp_path / "bases" / "digests.json").read_text()) == {"tiny": digest}
    stored = json.loads((folder / "eval.json").read_text())
    assert stored == figures
    assert stored["split"] == "val"
    assert stored["datasets"]["discs"]["dice"]["n"] == 3
    means = [stored["datasets"][name]["dice"]["mean"] for name in ("discs", "boxes")]
    assert stored["mean_dice"] == pytest.approx(sum(means) / 2)
    card = (folder / "README.md").read_text()
    for said in (digest, "makers of discs", "CC0", "Research use only", f"{stored['mean_dice']:.3f}"):
        assert said in card
