"""CoOp: learned context vectors before the phrase (Zhou et al., IJCV 2022), at any depth."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models_store.errors import BadInputError
from models_store.heads import HeadMode, make_head
from models_store.strategies.learner import PromptLearner, check_depth, random_context
from models_store.vlsm import FrozenVLSM


class CoOp(PromptLearner):
    """Text prompts only: P_k = C[k], with C of shape [D, n, d_t].

    Args:
        vlsm: The frozen model, for sizes and for the embeddings of the initial phrase.
        depth: Prompt depth D.
        n: Prompt tokens per layer; an initial phrase sets it.
        initial_phrase: Its token embeddings become C[0]; the other depths are random.
        head: What the head does; the benchmark's CoOp has none.
        seed: Seed of the random part.
    """

    def __init__(
        self,
        vlsm: FrozenVLSM,
        *,
        depth: int = 1,
        n: int = 4,
        initial_phrase: str | None = None,
        head: HeadMode = HeadMode.NONE,
        seed: int = 12345,
    ):
        super().__init__()
        spec = vlsm.spec
        first: Tensor | None = None
        if initial_phrase is not None:
            first = vlsm.embed_phrase(initial_phrase).float().cpu()
            n = first.shape[0]
            if n == 0:
                raise BadInputError("the initial phrase has no tokens")
        check_depth(depth, n, spec)
        generator = torch.Generator().manual_seed(seed)
        self.context = random_context(depth, n, spec.text_width, generator)
        if first is not None:
            with torch.no_grad():
                self.context[0] = first
        self.head = make_head(spec.grid_channels, head, generator)

    def prompts(self) -> tuple[nn.Parameter, None]:
        return self.context, None
