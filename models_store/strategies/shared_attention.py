"""Shared-attention: one vector per token for both towers, mixed by a transformer layer.

One of the two multimodal strategies that TuneVLSeg (ACCV 2024) adds.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from models_store.errors import BadInputError
from models_store.heads import HeadMode, head_for
from models_store.projections import seeded_modules
from models_store.strategies.context import check_depth, random_context
from models_store.strategies.learner import PromptLearner
from models_store.vlsm import FrozenVLSM

Attend = Literal["token", "tokens"]


class SharedAttention(PromptLearner):
    """Text and visual prompts: Z_k = T_k(C[k]), P_k its first d_t channels and V_k its last d_v.

    C has shape [D, n, d_t + d_v] and T_k is a transformer encoder layer, in training with dropout.

    Args:
        vlsm: The frozen model, for sizes.
        depth: Prompt depth D; V_k is not made where the decoder could not see it.
        n: Prompt tokens per layer.
        head: What the head does; the benchmark's mixes.
        seed: Seed of the random part.
        heads: Attention heads of T_k, dividing d_t + d_v.
        feedforward: Its hidden width.
        dropout: Its dropout, at least 0 and below 1.
        pre_norm: Whether its norms come before attention and feed-forward.
        attend: ``tokens`` attends over the n tokens. ``token`` lets each attend to itself alone, as
            the benchmark's does (it feeds the tokens as a batch), for its checkpoints.
        unified: Whether one T serves all depths.
    """

    visual = True

    def __init__(
        self,
        vlsm: FrozenVLSM,
        *,
        depth: int = 1,
        n: int = 4,
        head: HeadMode = HeadMode.MIX,
        seed: int = 12345,
        heads: int = 16,
        feedforward: int = 1536,
        dropout: float = 0.25,
        pre_norm: bool = True,
        attend: Attend = "tokens",
        unified: bool = False,
    ):
        super().__init__()
        spec = vlsm.spec
        check_depth(depth, n, spec)
        width = spec.text_width + spec.vision_width
        _check(width, heads, feedforward, dropout, attend)
        self.attend = attend
        self.text_width = spec.text_width
        self.useful_depth = min(depth, spec.last_vision_layer + 1)
        generator = torch.Generator().manual_seed(seed)
        self.context = random_context(depth, n, width, generator)

        def layer() -> nn.Module:
            return nn.TransformerEncoderLayer(
                width, heads, feedforward, dropout, norm_first=pre_norm, batch_first=True
            )

        self.layers = seeded_modules(layer, 1 if unified else depth, generator)
        self.head = head_for(spec, head, generator)

    def prompts(self) -> tuple[Tensor, Tensor]:
        mixed = self._mixed()
        return mixed[..., : self.text_width], mixed[: self.useful_depth, :, self.text_width :]

    def _mixed(self) -> Tensor:
        """Z [D, n, d_t + d_v], both halves at once."""
        # [D, batch, sequence, width], a depth's tokens being one sequence or as many of one token.
        fed = self.context[:, None] if self.attend == "tokens" else self.context[:, :, None]
        if len(self.layers) == 1:
            return self.layers[0](fed.flatten(0, 1)).reshape(self.context.shape)
        mixed = [layer(level) for layer, level in zip(self.layers, fed, strict=True)]
        return torch.stack(mixed).reshape(self.context.shape)


def _check(width: int, heads: int, feedforward: int, dropout: float, attend: str) -> None:
    if heads < 1 or width % heads:
        fitting = ", ".join(str(h) for h in range(1, 33) if width % h == 0)
        raise BadInputError(
            f"{heads} attention heads do not divide the shared width {width}; up to 32, these do: {fitting}"
        )
    if feedforward < 1:
        raise BadInputError(f"feedforward {feedforward} must be positive")
    if not 0 <= dropout < 1:
        raise BadInputError(f"dropout {dropout} is outside 0..1")
    if attend not in get_args(Attend):
        raise BadInputError(f"attend {attend!r} is neither of {', '.join(get_args(Attend))}")
