"""Base models and checkpoints for the tests of this room, made once and kept in memory."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import torch
from tiny_cris import TINY
from tiny_models import byte_tokenizer, tiny_config
from torch import Tensor
from transformers import CLIPSegConfig

from models_store.checkpoints import BaseIdentity, CheckpointConfig, NewCheckpoint, learner_tensors
from models_store.clipseg.folder import read_spec
from models_store.clipseg.model import FrozenCLIPSeg
from models_store.clipseg.network import build_network
from models_store.cris.folder import read_spec as read_cris_spec
from models_store.cris.model import FrozenCRIS
from models_store.cris.network import PUBLISHED, build_cris
from models_store.digests import tensors_digest
from models_store.strategies import make_learner
from models_store.strategies.learner import PromptLearner
from models_store.vlsm import FrozenVLSM, VLSMSpec

PROCESSOR: dict[str, Any] = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 2}
PHRASES = ["liver", "a polyp, small", "the left lung seen from the front"]


def lively(network: torch.nn.Module, seed: int = 0) -> None:
    """Random weights large enough that every part of the network shows in its logits."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=parameter[0].numel() ** -0.5, generator=generator)
            elif not name.endswith("logit_scale"):
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)


def frozen(config: CLIPSegConfig, name: str, seed: int = 0) -> FrozenCLIPSeg:
    """A frozen model of this configuration with lively weights."""
    network = build_network(config)
    lively(network, seed)
    spec = read_spec(config, PROCESSOR, name, tensors_digest(network.state_dict()))
    return FrozenCLIPSeg(network=network, tokenizer=byte_tokenizer(), spec=spec)


@cache
def tiny_base(*, hybrid: bool = False) -> FrozenCLIPSeg:
    """Four layers, of which the decoder reads the first three."""
    return frozen(tiny_config(hybrid=hybrid), "hybrid" if hybrid else "plain")


@cache
def deep_base(*, hybrid: bool = False) -> FrozenCLIPSeg:
    """Twelve layers like the published model, of which the decoder reads 4, 7 and 10."""
    config = tiny_config(hybrid=hybrid, layers=12)
    config.extract_layers = [3, 6, 9]
    return frozen(config, "deep-hybrid" if hybrid else "deep")


@cache
def tiny_cris(*, layers: int = 4) -> FrozenCRIS:
    """A CRIS with CLIP's kind of trunk on 64-pixel images, its batch statistics random too."""
    config = replace(TINY, text_layers=layers)
    network = build_cris(config)
    lively(network)
    generator = torch.Generator().manual_seed(4)
    for name, buffer in network.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(std=0.1, generator=generator)
    processor = PROCESSOR | {"size": 64}
    spec = read_cris_spec(config, processor, "tiny-cris", tensors_digest(network.state_dict()))
    return FrozenCRIS(network=network, tokenizer=byte_tokenizer(), spec=spec)


def published_config(*, refined: bool = False) -> CLIPSegConfig:
    """The configuration of ``CIDAS/clipseg-rd64``, or of its refined variant.

    Its positions are CLIP's at 224 pixels, stretched to the 352 pixels that its processor makes.
    """
    return CLIPSegConfig(
        text_config={
            "vocab_size": 49408,
            "hidden_size": 512,
            "intermediate_size": 2048,
            "eos_token_id": 49407,
        },
        vision_config={"hidden_size": 768, "intermediate_size": 3072, "image_size": 224, "patch_size": 16},
        projection_dim=512,
        extract_layers=[3, 6, 9],
        reduce_dim=64,
        decoder_num_attention_heads=4,
        decoder_intermediate_size=2048,
        use_complex_transposed_convolution=refined,
    )


def published_spec() -> VLSMSpec:
    """Sizes of the published model."""
    return read_spec(published_config(), PROCESSOR | {"size": 352}, "CIDAS/clipseg-rd64", "0" * 64)


def published_cris_spec() -> VLSMSpec:
    """Sizes of the published CRIS."""
    return read_cris_spec(PUBLISHED, PROCESSOR | {"size": 416}, "cris-r50", "0" * 64)


def images(count: int, *, height: int = 64, width: int = 64, seed: int = 1) -> Tensor:
    """Random normalised pixels [count, 3, height, width]."""
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def vectors(*shape: int, seed: int = 2) -> Tensor:
    """Random prompts, large enough to matter."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def enliven(learner: PromptLearner, seed: int = 3) -> PromptLearner:
    """The learner with prompts as large as :func:`vectors`, as after a long training."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
            if parameter.ndim == 2:  # A matrix that keeps its input's size.
                parameter.mul_(parameter.shape[1] ** -0.5)
    return learner


def new_checkpoint(
    base: FrozenVLSM, strategy: str = "vpt", *, seed: int = 0, **extras: bytes
) -> NewCheckpoint:
    """A small checkpoint for this base; ``extras`` are further files, named without a dot."""
    learner = enliven(make_learner(strategy, base, depth=2, n=3, seed=seed), seed)
    pack = learner.fold()
    config = CheckpointConfig(
        strategy=strategy,
        depth=2,
        n=3,
        head=pack.head_mode,
        shift=pack.shift_form,
        base=BaseIdentity(name=base.spec.name, digest=base.spec.digest),
        preprocessing=base.spec.preprocessing,
        labels=["liver"],
        seed=seed,
        pack_digest=pack.digest,
    )
    return NewCheckpoint(config, learner_tensors(learner), pack, {"dice": 0.5}, "# A card\n", extras)
