"""CLIPSeg as a base model folder holds it."""

from __future__ import annotations

from typing import Any

from transformers import CLIPSegConfig, CLIPSegForImageSegmentation, CLIPTokenizer

from models_store.clipseg.model import FrozenCLIPSeg
from models_store.clipseg.network import build_network
from models_store.preprocess import read_preprocessing
from models_store.vlsm import VLSMSpec


def read_config(raw: dict[str, Any]) -> CLIPSegConfig:
    """The hub's configuration."""
    return CLIPSegConfig.from_dict(raw)


def build(config: CLIPSegConfig) -> CLIPSegForImageSegmentation:
    """The network, with fresh weights."""
    return build_network(config)


def vocabulary(config: CLIPSegConfig) -> int:
    """Entries of the token embedding."""
    return int(config.text_config.vocab_size)


def freeze(network: CLIPSegForImageSegmentation, tokenizer: CLIPTokenizer, spec: VLSMSpec) -> FrozenCLIPSeg:
    """The network behind the protocol."""
    return FrozenCLIPSeg(network=network, tokenizer=tokenizer, spec=spec)


def read_spec(config: CLIPSegConfig, preprocessing: dict[str, Any], name: str, digest: str) -> VLSMSpec:
    """Sizes and identity of a CLIPSeg from its configuration and its processor's.

    Raises:
        ValueError: The processor does not make squares of whole patches, or its normalisation or
            filter means nothing.
    """
    text, vision = config.text_config, config.vision_config
    image = read_preprocessing(preprocessing, vision.image_size, vision.patch_size)
    return VLSMSpec(
        name=name,
        family="clipseg",
        digest=digest,
        image_size=image.side,
        patch_size=vision.patch_size,
        text_width=text.hidden_size,
        text_layers=text.num_hidden_layers,
        text_positions=text.max_position_embeddings,
        vision_width=vision.hidden_size,
        vision_layers=vision.num_hidden_layers,
        last_vision_layer=max(config.extract_layers) + 1,
        projection_dim=config.projection_dim,
        pooled_width=config.projection_dim,
        grid_channels=config.reduce_dim,
        head_channels=None,
        mean=image.mean,
        std=image.std,
        resample=image.resample,
    )
