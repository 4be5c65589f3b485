"""The embedded base model keeps what its card says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from models_store.bases import embedded_digests, embedded_folder, load_base
from models_store.names import DEFAULT_BASE
from models_store.packs import ZERO_SHOT
from models_store.vlsm import FrozenVLSM
from trainer.evaluate import evaluate_examples, evaluation_examples

MEGABYTE = 1e6


@pytest.fixture(scope="module")
def embedded() -> FrozenVLSM:
    return load_base()


def test_it_is_small_and_its_digest_is_recorded(embedded: FrozenVLSM) -> None:
    assert embedded.spec.digest == embedded_digests()[DEFAULT_BASE]
    size = sum(p.stat().st_size for p in (embedded_folder() / DEFAULT_BASE).iterdir())
    assert size < 25 * MEGABYTE


def test_any_text_tokenises_within_the_vocabulary(embedded: FrozenVLSM) -> None:
    tokens = embedded.tokenize(["ärztlich 腫瘍 \N{GRINNING FACE}", "x" * 400])
    assert tokens.ids.shape[1] <= embedded.spec.text_positions
    assert int(tokens.ids.max()) < embedded.network.config.text_config.vocab_size


@pytest.mark.parametrize("dataset", ["msd_liver_ct", "dsb2018_nuclei"])
def test_dice_is_what_the_card_says(embedded: FrozenVLSM, shared_data: Path, dataset: str) -> None:
    """On every fourth image of ``val``, against the same images of ``eval.json``'s whole split."""
    recorded = json.loads((embedded_folder() / DEFAULT_BASE / "eval.json").read_text())["datasets"][dataset]
    examples = evaluation_examples(shared_data / dataset, embedded).select(range(0, recorded["dice"]["n"], 4))
    result = evaluate_examples(embedded, ZERO_SHOT, examples, device=torch.device("cpu"))
    assert np.mean(result.dice) == pytest.approx(recorded["dice"]["mean"], abs=0.1)
