"""VPT: learned tokens among the patches (Jia et al., ECCV 2022), deep variant."""

from __future__ import annotations

import torch
from torch import Tensor

from models_store.heads import HeadMode, head_for
from models_store.strategies.context import check_depth, random_context
from models_store.strategies.learner import PromptLearner
from models_store.vlsm import FrozenVLSM


class VPT(PromptLearner):
    """Visual prompts only: V_k = C[k], with C of shape [D, n, d_v]; the text tower is untouched.

    Args:
        vlsm: The frozen model, for sizes.
        depth: Prompt depth D. Prompts deeper than the last layer the decoder reads change nothing;
            folding drops them.
        n: Prompt tokens per layer.
        head: What the head does; the benchmark's VPT adds it.
        seed: Seed of the random part.
    """

    visual = True

    def __init__(
        self,
        vlsm: FrozenVLSM,
        *,
        depth: int = 1,
        n: int = 4,
        head: HeadMode = HeadMode.ADD,
        seed: int = 12345,
    ):
        super().__init__()
        check_depth(depth, n, vlsm.spec)
        self.useful_depth = min(depth, vlsm.spec.last_vision_layer + 1)
        generator = torch.Generator().manual_seed(seed)
        self.context = random_context(depth, n, vlsm.spec.vision_width, generator)
        self.head = head_for(vlsm.spec, head, generator)

    def prompts(self) -> tuple[None, Tensor]:
        return None, self.context[: self.useful_depth]
