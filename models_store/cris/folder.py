"""CRIS as a base model folder holds it."""

from __future__ import annotations

from typing import Any

from transformers import CLIPTokenizer

from models_store.cris.model import FrozenCRIS
from models_store.cris.network import CRIS, MODEL_TYPE, STRIDE, CRISConfig, build_cris
from models_store.preprocess import read_preprocessing
from models_store.vlsm import VLSMSpec

# The coarsest map's stride.
MULTIPLE = 32
HEAD_CHANNELS = 64


def read_config(raw: dict[str, Any]) -> CRISConfig:
    """The sizes."""
    return CRISConfig.from_dict(raw)


def build(config: CRISConfig) -> CRIS:
    """The network, with fresh weights."""
    return build_cris(config)


def vocabulary(config: CRISConfig) -> int:
    """Entries of the token embedding."""
    return config.vocabulary


def freeze(network: CRIS, tokenizer: CLIPTokenizer, spec: VLSMSpec) -> FrozenCRIS:
    """The network behind the protocol."""
    return FrozenCRIS(network=network, tokenizer=tokenizer, spec=spec)


def read_spec(config: CRISConfig, preprocessing: dict[str, Any], name: str, digest: str) -> VLSMSpec:
    """Sizes and identity of a CRIS.

    Raises:
        ValueError: The preprocessing makes no squares whose side is a multiple of 32, or its
            normalisation or filter means nothing.
    """
    image = read_preprocessing(preprocessing, config.image_size, MULTIPLE)
    return VLSMSpec(
        name=name,
        family=MODEL_TYPE,
        digest=digest,
        image_size=image.side,
        patch_size=STRIDE,
        text_width=config.text_width,
        text_layers=config.text_layers,
        text_positions=config.positions,
        vision_width=0,
        vision_layers=0,
        last_vision_layer=0,
        projection_dim=config.word_dim,
        pooled_width=config.maps[-1],
        grid_channels=config.neck[1],
        head_channels=HEAD_CHANNELS,
        mean=image.mean,
        std=image.std,
        resample=image.resample,
    )
