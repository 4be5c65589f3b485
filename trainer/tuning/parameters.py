"""What moves and what must not, and the randomness of a step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models_store.vlsm import FrozenVLSM


def parameter_groups(learner: nn.Module, rate: float, decay: float) -> list[dict[str, Any]]:
    """Learned values with decay on convolution and linear weights only.

    Prompts, biases, norms and the mixing ratio do not decay, as in the benchmark.
    """
    decaying = {
        id(module.weight)
        for module in learner.modules()
        if isinstance(module, (nn.Linear, nn.modules.conv._ConvNd))
    }
    parameters = [p for p in learner.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if id(p) in decaying], "lr": rate, "weight_decay": decay},
        {"params": [p for p in parameters if id(p) not in decaying], "lr": rate, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def frozen_parameters(vlsm: FrozenVLSM) -> list[Tensor]:
    """Every parameter of the modules a frozen model holds."""
    modules = (value for value in vars(vlsm).values() if isinstance(value, nn.Module))
    return [parameter for module in modules for parameter in module.parameters()]


def check_frozen(vlsm: FrozenVLSM) -> None:
    """Raise RuntimeError if a parameter of the frozen model could move or has a gradient."""
    loose = [p for p in frozen_parameters(vlsm) if p.requires_grad or p.grad is not None]
    if loose:
        raise RuntimeError(f"{len(loose)} parameters of the frozen model take gradients")


@contextmanager
def seeded(seed: tuple[int, ...], device: torch.device) -> Iterator[None]:
    """Torch's randomness (dropout) from a seed, so that a resumed run draws what it would have."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
        yield
