"""What every prompt-tuning strategy is: a learner that can be trained and folded."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from models_store.errors import BadInputError
from models_store.heads import AdditiveHead
from models_store.packs import PromptPack
from models_store.vlsm import VLSMSpec

CONTEXT_STD = 0.02


class PromptLearner(nn.Module, ABC):
    """Holds all that is learned; the frozen model is not part of it.

    Its parameters are exactly what is trained and what is saved.
    """

    head: AdditiveHead | None

    @abstractmethod
    def prompts(self) -> tuple[Tensor | None, Tensor | None]:
        """Text prompts [D, n, d_t] and visual prompts [D, n, d_v], taking gradients."""

    def pack(self) -> PromptPack:
        """The live pack, for training."""
        text, visual = self.prompts()
        return PromptPack(text, visual, self.head)

    @torch.no_grad()
    def fold(self) -> PromptPack:
        """The pack to serve: evaluation mode, float32, cut loose from this learner."""
        frozen = copy.deepcopy(self).eval().float().requires_grad_(False)
        text, visual = frozen.prompts()
        return PromptPack(
            None if text is None else text.clone(),
            None if visual is None else visual.clone(),
            frozen.head,
        )

    def parameter_count(self) -> int:
        """Number of learned values."""
        return sum(p.numel() for p in self.parameters())


def random_context(depth: int, n: int, width: int, generator: torch.Generator) -> nn.Parameter:
    """Context vectors [depth, n, width] drawn from N(0, 0.02)."""
    return nn.Parameter(torch.randn(depth, n, width, generator=generator) * CONTEXT_STD)


def check_depth(depth: int, n: int, spec: VLSMSpec) -> None:
    """Raise BadInputError unless 1 <= depth <= the model's layers and 1 <= n <= half the positions."""
    if not 1 <= depth <= spec.max_depth:
        raise BadInputError(f"prompt depth {depth} is outside 1..{spec.max_depth}, the layers of {spec.name}")
    if not 1 <= n <= spec.most_prompts:
        raise BadInputError(f"{n} prompt tokens are outside 1..{spec.most_prompts}")
