"""CoOp: learned context vectors before the phrase (Zhou et al., IJCV 2022), at any depth."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from models_store.errors import BadInputError
from models_store.heads import HeadMode, head_for
from models_store.strategies.context import text_context
from models_store.strategies.learner import PromptLearner
from models_store.vlsm import FrozenVLSM


class CoOp(PromptLearner):
    """Text prompts only: P_k = C[k], with C of shape [D, n, d_t].

    Args:
        vlsm: The frozen model, for sizes and for the embeddings of the initial phrase.
        depth: Prompt depth D.
        n: Prompt tokens per level; an initial phrase sets it.
        initial_phrase: Its token embeddings become C[0], or those of a list C[0], C[1], ...;
            the other levels are random.
        head: What the head does; the benchmark's CoOp has none on CLIPSeg and mixes on CRIS.
        seed: Seed of the random part.
        reference_depth: CRIS only, for checkpoints of the benchmark: C[k] enters one layer late and
            C[0] twice, so that depth D reaches D+1 layers.
    """

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
    ):
        super().__init__()
        check_reference_depth(vlsm, reference_depth)
        self._late = reference_depth
        generator = torch.Generator().manual_seed(seed)
        self.context = text_context(
            vlsm, depth=depth, n=n, initial_phrase=initial_phrase, generator=generator
        )
        self.head = head_for(vlsm.spec, head, generator)

    def prompts(self) -> tuple[Tensor, None]:
        return (one_layer_late(self.context) if self._late else self.context), None


def check_reference_depth(vlsm: FrozenVLSM, reference_depth: bool) -> None:
    """Raise BadInputError where the benchmark's reading of depth on CRIS is asked of another model."""
    if reference_depth and vlsm.spec.family != "cris":
        raise BadInputError(
            "reference_depth repeats how the benchmark's CRIS reads prompt depth; "
            f"{vlsm.spec.name} is of family {vlsm.spec.family}"
        )


def one_layer_late(context: Tensor) -> Tensor:
    """Prompts [D + 1, n, d_t] for vectors [D, n, d_t] that the benchmark's CRIS inserts.

    After its layer i, counted from 0, it writes C[i]; so C[0] enters the first two layers, and the
    last of as many levels as there are layers enters after all of them.
    """
    return torch.cat([context[:1], context])
