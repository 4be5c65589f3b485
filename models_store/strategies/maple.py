"""MaPLe: visual prompts made from the text prompts (Khattak et al., CVPR 2023)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from models_store.heads import HeadMode, head_for
from models_store.projections import apply_each, projection_form, seeded_modules
from models_store.strategies.context import text_context
from models_store.strategies.learner import PromptLearner
from models_store.vlsm import FrozenVLSM


class MaPLe(PromptLearner):
    """Text and visual prompts: P_k = C[k] and V_k = g_k(C[k]), with C of shape [D, n, d_t].

    Args:
        vlsm: The frozen model, for sizes and for the embeddings of the initial phrase.
        depth: Prompt depth D; V_k is not made where the decoder could not see it.
        n: Prompt tokens per layer; an initial phrase sets it.
        initial_phrase: As in CoOp.
        head: What the head does; the benchmark's MaPLe mixes.
        seed: Seed of the random part.
        hidden: Hidden width or widths of g_k; None makes them linear maps.
        lora: Whether they are products of two linear maps instead of MLPs.
        norm: Whether a LayerNorm ends them.
        final_bias: Whether what ends them has a bias.
        unified: Whether one g serves all depths.
    """

    visual = True

    def __init__(
        self,
        vlsm: FrozenVLSM,
        *,
        depth: int = 1,
        n: int = 4,
        initial_phrase: str | Sequence[str] | None = None,
        head: HeadMode = HeadMode.MIX,
        seed: int = 12345,
        hidden: int | Sequence[int] | None = 64,
        lora: bool = False,
        norm: bool = True,
        final_bias: bool = True,
        unified: bool = False,
    ):
        super().__init__()
        spec = vlsm.spec
        form = projection_form(hidden, lora=lora, norm=norm, final_bias=final_bias)
        generator = torch.Generator().manual_seed(seed)
        self.context = text_context(
            vlsm, depth=depth, n=n, initial_phrase=initial_phrase, generator=generator
        )
        self.useful_depth = min(depth, spec.last_vision_layer + 1)
        self.projections = seeded_modules(
            lambda: form.build(spec.text_width, spec.vision_width), 1 if unified else depth, generator
        )
        self.head = head_for(spec, head, generator)

    def prompts(self) -> tuple[Tensor, Tensor]:
        return self.context, apply_each(self.projections, self.context[: self.useful_depth])
