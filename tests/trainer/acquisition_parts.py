"""Images and checkpoints for the tests of what to label next."""

from __future__ import annotations

import numpy as np
import torch

from models_store.packs import ZERO_SHOT, PromptPack
from models_store.strategies import make_learner
from models_store.vlsm import FrozenVLSM
from trainer.acquisition.images import HeldImages
from trainer.acquisition.suggest import Candidates

PHRASE = "bright half"


def noise_images(count: int, side: int, seed: int = 0, prefix: str = "image") -> HeldImages:
    """Images of coarse noise, each unlike the others."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 4, 4, 3))
    pixels = coarse.repeat(side // 4, axis=1).repeat(side // 4, axis=2).astype(np.uint8)
    return HeldImages([f"{prefix}{i}.png" for i in range(count)], torch.from_numpy(pixels))


def random_pack(vlsm: FrozenVLSM, strategy: str = "coop", seed: int = 1) -> PromptPack:
    """A checkpoint of large random prompts, whose masks differ from zero-shot ones."""
    learner = make_learner(strategy, vlsm, depth=2, n=2, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.normal_(std=0.5, generator=generator)
    return learner.fold()


def candidates(vlsm: FrozenVLSM, **changes) -> Candidates:
    """Six unlabelled images and two labelled ones, all of noise, with two checkpoints at hand."""
    side = vlsm.spec.image_size
    given = {
        "vlsm": vlsm,
        "packs": {"v0002": random_pack(vlsm), "v0001": ZERO_SHOT},
        "images": noise_images(6, side),
        "phrases": [[PHRASE]] * 6,
        "labelled": noise_images(2, side, seed=1, prefix="labelled"),
    } | changes
    return Candidates(**given)
