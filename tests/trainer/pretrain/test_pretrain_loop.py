import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import byte_tokenizer

from models_store.bases import load_base
from models_store.clipseg.network import build_network
from trainer.losses import bce_dice
from trainer.pretrain.batches import BatchSource, Corpus
from trainer.pretrain.clipseg import PretrainedCLIPSeg, clipseg_config, initialise
from trainer.pretrain.export import record_digest, write_base
from trainer.pretrain.loop import PretrainRun
from trainer.pretrain.recipe import DatasetRow, Recipe, read_recipe


@pytest.fixture
def recipe() -> Recipe:
    """The real recipe, shrunk to seconds."""
    full = read_recipe()
    network = full.network | {
        "image_size": 64,
        "text": {"vocabulary": 514, "width": 24, "layers": 2, "heads": 2, "hidden": 32},
        "vision": {"width": 32, "layers": 3, "heads": 2, "hidden": 48},
        "extract_layers": [0, 1, 2],
        "projection": 16,
        "decoder": {"channels": 16, "heads": 2, "hidden": 32},
        "upsampler_widths": [4, 8, 8],
    }
    schedule = dataclasses.replace(
        full.schedule,
        batch=6,
        decay_batch=4,
        steps=5,
        polish_steps=1,
        polish_warmup=1,
        warmup=2,
        sizes=(32, 48),
        decay_sizes=(64,),
    )
    return dataclasses.replace(full, name="tiny-test", network=network, schedule=schedule)


def start_run(recipe: Recipe, folder: Path) -> PretrainRun:
    tokenizer = byte_tokenizer()
    torch.manual_seed(recipe.seed)
    network = build_network(clipseg_config(recipe, tokenizer.bos_token_id, tokenizer.eos_token_id))
    initialise(network)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (50, 70, 3), dtype=np.uint8)
    mask = np.zeros((50, 70), bool)
    mask[10:30, 20:50] = True
    row = DatasetRow("boxes", 1.0, "any", (0.9, 1.1), ())
    other = dataclasses.replace(row, folder="isic2017_skin_mini")
    corpora = [Corpus(row, [image], [mask], [["box"]], [0]), Corpus(other, [image], [mask], [["mole"]], [0])]
    return PretrainRun(
        recipe=recipe,
        model=PretrainedCLIPSeg(network),
        tokenizer=tokenizer,
        source=BatchSource(recipe, corpora),
        folder=folder,
        device=torch.device("cpu"),
    )


class Killed(Exception):
    pass


def test_a_resumed_run_equals_an_uninterrupted_one(recipe: Recipe, tmp_path: Path):
    whole = start_run(recipe, tmp_path / "whole")
    whole.run()

    def stop_after_three(step: int, loss: float) -> None:
        if step == 3:
            raise Killed

    broken = start_run(recipe, tmp_path / "broken")
    with pytest.raises(Killed):
        broken.run(stop_after_three)
    broken.save()
    resumed = start_run(recipe, tmp_path / "broken")
    assert resumed.step == 3
    resumed.run()
    for name, value in whole.average.items():
        assert torch.equal(value, resumed.average[name]), name


def test_an_exported_model_loads_and_draws_the_same(recipe: Recipe, tmp_path: Path):
    run = start_run(recipe, tmp_path / "run")
    run.run()
    folder = write_base(tmp_path / "bases", recipe, run.model.config(), run.average, byte_tokenizer())
    digest = record_digest(tmp_path / "bases", recipe.name)
    # Writing again replaces the folder and leaves nothing aside.
    write_base(tmp_path / "bases", recipe, run.model.config(), run.average, byte_tokenizer())
    assert sorted(p.name for p in (tmp_path / "bases").iterdir()) == ["digests.json", "tiny-test"]

    base = load_base(str(folder), digest=digest)
    run.network.load_state_dict(run.average)
    pixels = torch.randn(1, 3, 64, 64)
    tokens = base.tokenize(["box"])
    with torch.no_grad():
        ours = base.decode(base.encode_image(pixels), base.encode_text(tokens)).logits
        base.network.load_state_dict(run.average)
        trained = base.decode(base.encode_image(pixels), base.encode_text(tokens)).logits
    assert (ours - trained).abs().max() < 0.02 * max(1, trained.abs().max())


def test_the_loss_falls_with_a_better_mask():
    target = torch.zeros(2, 16, 16)
    target[0, 4:12, 4:12] = 1
    right, wrong = (target - 0.5) * 24, (0.5 - target) * 24
    assert bce_dice(right, target) < 0.1
    assert bce_dice(wrong, target) > bce_dice(torch.zeros_like(target), target) > bce_dice(right, target)
