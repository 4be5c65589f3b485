"""The small networks between learned vectors and prompts.

Three kinds, as in TuneVLSeg: a plain linear map, an MLP, and what it calls LoRA (a product of two
linear maps, of rank ``hidden``, without LoRA's scaling or zero start).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor, nn

from models_store.errors import BadInputError


class ProjectionKind(StrEnum):
    """How a projection gets from its input to its output."""

    LINEAR = "linear"
    MLP = "mlp"
    LORA = "lora"


@dataclass(frozen=True)
class ProjectionForm:
    """Everything about a projection but its sizes at both ends and its weights.

    Attributes:
        kind: Which of the three; ``linear`` ignores everything else.
        hidden: Hidden widths; at least one for ``mlp``, one for ``lora``.
        norm: Whether a LayerNorm ends it; its last linear map then has no bias.
        bias: Whether what ends it (the LayerNorm or else the last linear map) has a bias.
    """

    kind: ProjectionKind = ProjectionKind.LINEAR
    hidden: tuple[int, ...] = ()
    norm: bool = False
    bias: bool = True

    def build(self, inputs: int, outputs: int) -> nn.Module:
        """A fresh projection from ``inputs`` to ``outputs`` channels, in torch's global randomness."""
        if self.kind is ProjectionKind.LINEAR:
            return nn.Linear(inputs, outputs)
        last_bias = self.bias and not self.norm
        end = [nn.LayerNorm(outputs, bias=self.bias)] if self.norm else []
        if self.kind is ProjectionKind.LORA:
            (rank,) = self.hidden
            if rank > outputs:
                return nn.Sequential(nn.Linear(inputs, outputs, bias=last_bias), *end)
            down = nn.Linear(inputs, rank, bias=False)
            return nn.Sequential(down, nn.Linear(rank, outputs, bias=last_bias), *end)
        steps: list[nn.Module] = []
        for width, wider in zip((inputs, *self.hidden), self.hidden, strict=False):
            linear = nn.Linear(width, wider)
            nn.init.kaiming_normal_(linear.weight)
            steps += [linear, nn.ReLU()]
        return nn.Sequential(*steps, nn.Linear(self.hidden[-1], outputs, bias=last_bias), *end)


def projection_form(
    hidden: int | Sequence[int] | None, *, lora: bool, norm: bool, final_bias: bool
) -> ProjectionForm:
    """The form that a strategy's options ask for.

    Args:
        hidden: Hidden width or widths; None asks for one linear map, whatever the rest says.
        lora: Whether it is two linear maps with nothing between them.
        norm: Whether a LayerNorm ends it.
        final_bias: Whether what ends it has a bias.

    Raises:
        BadInputError: A width is not a positive number, or LoRA has several.
    """
    if hidden is None:
        if lora:
            raise BadInputError("lora needs a hidden width, its rank")
        return ProjectionForm()
    widths = tuple(hidden) if isinstance(hidden, Sequence) else (hidden,)
    if not widths or not all(isinstance(w, int) and not isinstance(w, bool) and w > 0 for w in widths):
        raise BadInputError(f"hidden must be a positive whole number or a list of them, not {hidden!r}")
    if lora and len(widths) > 1:
        raise BadInputError(f"lora takes one hidden width, its rank, not {list(widths)}")
    kind = ProjectionKind.LORA if lora else ProjectionKind.MLP
    return ProjectionForm(kind, widths, norm, final_bias)


def seeded_modules(build: Callable[[], nn.Module], count: int, generator: torch.Generator) -> nn.ModuleList:
    """``count`` fresh modules whose values depend on nothing but ``generator``.

    torch's modules draw their first values from its global randomness, which is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator, device="cpu")))
        return nn.ModuleList(build() for _ in range(count))


def apply_each(modules: nn.ModuleList, context: Tensor) -> Tensor:
    """Module k on context[k] ([D, n, c] to [D, n, d]); a single module serves all depths."""
    if len(modules) == 1:
        return modules[0](context)
    return torch.stack([module(level) for module, level in zip(modules, context, strict=False)])
