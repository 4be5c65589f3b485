"""What every prompt-tuning strategy is: a learner that can be trained and folded."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from models_store.heads import AdditiveHead
from models_store.packs import PromptPack
from models_store.shift import ImageShift


class PromptLearner(nn.Module, ABC):
    """Holds all that is learned; the frozen model is not part of it.

    Its parameters are exactly what is trained and what is saved.

    Attributes:
        visual: Whether it makes visual prompts, which not every model takes.
        tunes_base: Whether its parameters are weights of the base model itself, as in baselines.
        head: The head it trains, if any.
        shift: What an image adds to its text prompts, if anything.
    """

    visual: ClassVar[bool] = False
    tunes_base: ClassVar[bool] = False

    head: AdditiveHead | None
    shift: ImageShift | None

    def __init__(self) -> None:
        super().__init__()
        self.head = None
        self.shift = None

    @abstractmethod
    def prompts(self) -> tuple[Tensor | None, Tensor | None]:
        """Text prompts [D, n, d_t] and visual prompts [D, n, d_v], taking gradients.

        Level k is part of the input of layer k+1, whatever the strategy's own convention.
        """

    def pack(self) -> PromptPack:
        """The live pack, for training."""
        text, visual = self.prompts()
        return PromptPack(text, visual, self.head, self.shift)

    @torch.no_grad()
    def fold(self) -> PromptPack:
        """The pack to serve: evaluation mode, float32, cut loose from this learner."""
        frozen = copy.deepcopy(self).eval().float().requires_grad_(False)
        text, visual = frozen.prompts()
        return PromptPack(
            None if text is None else text.clone(),
            None if visual is None else visual.clone(),
            frozen.head,
            frozen.shift,
        )

    def parameter_count(self) -> int:
        """Number of learned values."""
        return sum(p.numel() for p in self.parameters())
