"""A tiny random CRIS of each trunk, for the tests of what works on any base."""

from __future__ import annotations

from dataclasses import replace

import torch
from tiny_cris import TINY
from tiny_models import byte_tokenizer

from models_store.cris.folder import read_spec
from models_store.cris.model import FrozenCRIS
from models_store.cris.network import build_cris
from models_store.digests import tensors_digest

PROCESSOR = {"size": 64, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}


def tiny_cris(trunk: str = "lite0") -> FrozenCRIS:
    """A CRIS on 64-pixel images."""
    config = replace(TINY, trunk=trunk)
    torch.manual_seed(0)
    network = build_cris(config)
    spec = read_spec(config, PROCESSOR, "tiny-cris", tensors_digest(network.state_dict()))
    return FrozenCRIS(network=network, tokenizer=byte_tokenizer(), spec=spec)
