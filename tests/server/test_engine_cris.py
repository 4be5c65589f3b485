"""CRIS behind the service: the same engine, registry and exchange as for CLIPSeg."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from serving import publish
from tiny_cris import write_cris

from models_store.bases import load_base
from models_store.errors import BadInputError
from models_store.exchange import export_checkpoint, import_checkpoint
from models_store.packs import segment_logits
from models_store.preprocess import to_pixels
from models_store.registry import Registry
from models_store.strategies import make_learner
from models_store.vlsm import FrozenVLSM
from server.engine import Engine

PHRASES = ["tumour", "a long phrase about the left lung", "polyp"]


@pytest.fixture(scope="module")
def cris(tmp_path_factory: pytest.TempPathFactory) -> FrozenVLSM:
    return load_base(str(write_cris(tmp_path_factory.mktemp("bases") / "cris-tiny")))


@pytest.fixture(scope="module")
def picture() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)


@pytest.fixture
def engine(cris: FrozenVLSM, tmp_path: Path) -> Engine:
    registry = Registry(tmp_path / "registry")
    for strategy in ("coop", "cocoop"):
        publish(registry, cris, "busi", strategy)
    return Engine(vlsm=cris, registry=registry)


@pytest.mark.parametrize("reference", [None, "busi/v0001", "busi/v0002"], ids=["zero-shot", "coop", "cocoop"])
def test_what_is_served_is_what_was_tuned(engine: Engine, picture: NDArray[np.uint8], reference: str) -> None:
    served = engine.segment(picture, PHRASES, reference)
    zero_shot = engine.segment(picture, PHRASES)
    assert served.logits.shape == (3, 1, 64, 64)
    assert served.probability(0).shape == (50, 70)
    assert torch.equal(served.logits, zero_shot.logits) == (reference is None)
    if reference is not None:
        pack = engine.registry.read(engine.resolve(reference)).pack
        vlsm = engine.vlsm
        pixels = to_pixels(picture, vlsm.spec)[None].expand(3, -1, -1, -1)
        direct = segment_logits(vlsm, pack, pixels, vlsm.tokenize(PHRASES, pack.text_tokens))
        assert torch.allclose(served.logits, direct, rtol=0, atol=1e-5)


def test_a_phrase_among_others_gives_the_mask_it_gives_alone(
    engine: Engine, picture: NDArray[np.uint8]
) -> None:
    together = engine.segment(picture, PHRASES, "busi/v0002").logits
    for row, phrase in enumerate(PHRASES):
        alone = engine.segment(picture, [phrase], "busi/v0002").logits
        assert torch.allclose(together[row], alone[0], rtol=1e-4, atol=1e-4)
    assert (together[0] - together[2]).abs().max() > 1e-3


def test_there_and_back_gives_the_same_bits(engine: Engine, picture: NDArray[np.uint8]) -> None:
    first, other, again = (
        engine.segment(picture, PHRASES, reference).logits
        for reference in ("busi/v0001", "busi/v0002", "busi/v0001")
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("version", ["v0001", "v0002"])
def test_carried_elsewhere_it_serves_the_same(
    engine: Engine, picture: NDArray[np.uint8], tmp_path: Path, version: str
) -> None:
    reference = engine.resolve(f"busi/{version}")
    export_checkpoint(engine.registry, reference, tmp_path / "out.zip", "zip")
    there = Registry(tmp_path / "there")
    done = import_checkpoint(there, str(tmp_path / "out.zip"), "breast")
    served = Engine(vlsm=engine.vlsm, registry=there).segment(picture, PHRASES, str(done.reference))
    assert torch.equal(served.logits, engine.segment(picture, PHRASES, str(reference)).logits)


@pytest.mark.parametrize("strategy", ["vpt", "maple", "shared_separate", "shared_attention"])
def test_strategies_it_has_no_place_for(cris: FrozenVLSM, strategy: str) -> None:
    with pytest.raises(BadInputError, match="coop, cocoop"):
        make_learner(strategy, cris)
