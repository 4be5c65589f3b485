"""The embedded base models keep what their cards say."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models_store.bases import embedded_digests, embedded_folder, load_base
from models_store.packs import ZERO_SHOT
from models_store.vlsm import FrozenVLSM
from trainer.evaluate import evaluate_examples, evaluation_examples

MEGABYTE = 1e6
NAMES = ["clipseg-tiny-med", "cris-tiny-med"]

load_once = cache(load_base)


def recorded(name: str) -> Any:
    return json.loads((embedded_folder() / name / "eval.json").read_text())


@pytest.mark.parametrize("name", NAMES)
def test_it_is_small_and_its_digest_is_recorded(name: str) -> None:
    assert load_once(name).spec.digest == embedded_digests()[name]
    assert embedded_digests()[name] in (embedded_folder() / name / "README.md").read_text()
    size = sum(p.stat().st_size for p in (embedded_folder() / name).iterdir())
    assert size < 25 * MEGABYTE


@pytest.mark.parametrize("name", NAMES)
def test_any_text_tokenises_within_the_vocabulary(name: str) -> None:
    embedded: FrozenVLSM = load_once(name)
    tokens = embedded.tokenize(["ärztlich 腫瘍 \N{GRINNING FACE}", "x" * 400])
    assert tokens.ids.shape[1] <= embedded.spec.text_positions
    # Each token has an embedding, or this would raise.
    assert torch.isfinite(embedded.encode_text(tokens).cond).all()


@pytest.mark.parametrize("dataset", ["msd_liver_ct", "dsb2018_nuclei"])
@pytest.mark.parametrize("name", NAMES)
def test_dice_is_what_the_card_says(name: str, shared_data: Path, dataset: str) -> None:
    """On every fourth image of ``val``, against the same images of ``eval.json``'s whole split."""
    embedded = load_once(name)
    whole = recorded(name)["datasets"][dataset]["dice"]
    examples = evaluation_examples(shared_data / dataset, embedded).select(range(0, whole["n"], 4))
    result = evaluate_examples(embedded, ZERO_SHOT, examples, device=torch.device("cpu"))
    assert np.mean(result.dice) == pytest.approx(whole["mean"], abs=0.1)
