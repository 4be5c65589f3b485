"""CoCoOp: context vectors that follow the image (Zhou et al., CVPR 2022), at any depth."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from models_store.heads import HeadMode, head_for
from models_store.projections import projection_form, seeded_modules
from models_store.shift import ImageShift, ShiftForm
from models_store.strategies.context import text_context
from models_store.strategies.coop import check_reference_depth, one_layer_late
from models_store.strategies.learner import PromptLearner
from models_store.vlsm import FrozenVLSM


class CoCoOp(PromptLearner):
    """Text prompts only: P_k(x) = C[k] + m_k(f(x)), the same shift for all n tokens of a level.

    f(x) is the frozen model's pooled image feature and m_k a small meta-net.

    Args:
        vlsm: The frozen model, for sizes and for the embeddings of the initial phrase.
        depth: Prompt depth D.
        n, initial_phrase, seed, reference_depth: As in CoOp.
        head: What the head does; the benchmark's CoCoOp has none on CLIPSeg and mixes on CRIS.
        hidden: Hidden width or widths of the meta-nets; None makes them linear maps.
        lora: Whether they are products of two linear maps instead of MLPs.
        norm: Whether a LayerNorm ends them.
        final_bias: Whether what ends them has a bias; the benchmark's have none.
        unified: Whether one meta-net serves all levels.
        normalise: Whether f(x) is scaled to length one.
    """

    shift: ImageShift

    def __init__(
        self,
        vlsm: FrozenVLSM,
        *,
        depth: int = 1,
        n: int = 4,
        initial_phrase: str | Sequence[str] | None = None,
        head: HeadMode = HeadMode.NONE,
        seed: int = 12345,
        reference_depth: bool = False,
        hidden: int | Sequence[int] | None = 64,
        lora: bool = False,
        norm: bool = True,
        final_bias: bool = False,
        unified: bool = False,
        normalise: bool = False,
    ):
        super().__init__()
        check_reference_depth(vlsm, reference_depth)
        self._late = reference_depth
        form = projection_form(hidden, lora=lora, norm=norm, final_bias=final_bias)
        generator = torch.Generator().manual_seed(seed)
        self.context = text_context(
            vlsm, depth=depth, n=n, initial_phrase=initial_phrase, generator=generator
        )
        spec = vlsm.spec
        nets = seeded_modules(
            lambda: form.build(spec.pooled_width, spec.text_width), 1 if unified else depth, generator
        )
        of_level = [0 if unified else level for level in range(depth)]
        levels = tuple([*of_level[:1], *of_level] if reference_depth else of_level)
        self.shift = ImageShift(nets, ShiftForm(form, levels, normalise))
        self.head = head_for(spec, head, generator)

    def prompts(self) -> tuple[Tensor, None]:
        """What does not follow the image; :attr:`shift` adds the rest."""
        return (one_layer_late(self.context) if self._late else self.context), None
