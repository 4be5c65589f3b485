"""Shared-separate: one small vector per token, projected to either tower by a network of its own.

One of the two multimodal strategies that TuneVLSeg (ACCV 2024) adds.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from models_store.errors import BadInputError
from models_store.heads import HeadMode, head_for
from models_store.projections import apply_each, projection_form, seeded_modules
from models_store.strategies.context import check_depth, random_context
from models_store.strategies.learner import PromptLearner
from models_store.vlsm import FrozenVLSM


class SharedSeparate(PromptLearner):
    """Text and visual prompts: P_k = a_k(C[k]) and V_k = b_k(C[k]), with C of shape [D, n, width].

    Args:
        vlsm: The frozen model, for sizes.
        depth: Prompt depth D; V_k is not made where the decoder could not see it.
        n: Prompt tokens per layer.
        width: Width of the shared vectors.
        head: What the head does; the benchmark's mixes.
        seed: Seed of the random part.
        hidden: Hidden width or widths of a_k and b_k; None makes them linear maps.
        lora: Whether they are products of two linear maps instead of MLPs.
        norm: Whether a LayerNorm ends them, unless they are linear maps.
        final_bias: Whether what ends them has a bias.
        unified: Whether one a and one b serve all depths.
    """

    visual = True

    def __init__(
        self,
        vlsm: FrozenVLSM,
        *,
        depth: int = 1,
        n: int = 4,
        width: int = 64,
        head: HeadMode = HeadMode.MIX,
        seed: int = 12345,
        hidden: int | Sequence[int] | None = None,
        lora: bool = False,
        norm: bool = True,
        final_bias: bool = True,
        unified: bool = False,
    ):
        super().__init__()
        spec = vlsm.spec
        check_depth(depth, n, spec)
        if width < 1:
            raise BadInputError(f"width {width} of the shared vectors must be positive")
        form = projection_form(hidden, lora=lora, norm=norm, final_bias=final_bias)
        generator = torch.Generator().manual_seed(seed)
        self.context = random_context(depth, n, width, generator)
        self.useful_depth = min(depth, spec.last_vision_layer + 1)
        count = 1 if unified else depth
        self.textual = seeded_modules(lambda: form.build(width, spec.text_width), count, generator)
        self.visionary = seeded_modules(lambda: form.build(width, spec.vision_width), count, generator)
        self.head = head_for(spec, head, generator)

    def prompts(self) -> tuple[Tensor, Tensor]:
        text = apply_each(self.textual, self.context)
        return text, apply_each(self.visionary, self.context[: self.useful_depth])
