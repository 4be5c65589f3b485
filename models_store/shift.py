"""CoCoOp's image-conditioned shift of the text prompts (Zhou et al., CVPR 2022)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models_store.errors import DamagedError
from models_store.projections import ProjectionForm


@dataclass(frozen=True)
class ShiftForm:
    """Everything about a shift but its weights and widths, as a checkpoint records it.

    Attributes:
        net: What each meta-net is.
        levels: For each prompt level, which meta-net shifts it.
        normalise: Whether the image's pooled feature is scaled to length one first.
    """

    net: ProjectionForm
    levels: tuple[int, ...]
    normalise: bool = False

    @property
    def nets(self) -> int:
        """Number of meta-nets."""
        return len(set(self.levels))


class ImageShift(nn.Module):
    """One vector per image and prompt level, to be added to all prompt tokens of that level.

    Args:
        nets: The meta-nets, each from the pooled feature [B, d_p] to [B, d_t].
        form: What they are, and which levels they shift.
    """

    def __init__(self, nets: nn.ModuleList, form: ShiftForm):
        super().__init__()
        if not form.levels or sorted(set(form.levels)) != list(range(len(nets))):
            raise DamagedError(
                f"levels {list(form.levels)} do not use {len(nets)} meta-nets, each at least once"
            )
        self.nets = nets
        self.form = form

    @property
    def levels(self) -> tuple[int, ...]:
        """For each prompt level, which meta-net shifts it."""
        return self.form.levels

    @property
    def normalise(self) -> bool:
        """Whether the pooled feature is scaled to length one first."""
        return self.form.normalise

    @property
    def inputs(self) -> int:
        """Width d_p of the pooled feature it reads."""
        return next(self.nets.parameters()).shape[1]

    @property
    def outputs(self) -> int:
        """Width d_t of the prompts it shifts."""
        return next(p for p in reversed(list(self.nets[0].parameters())) if p.ndim == 2).shape[0]

    def forward(self, pooled: Tensor) -> Tensor:
        """Shifts [B, D, d_t] from pooled features [B, d_p]."""
        pooled = pooled.to(next(self.nets.parameters()).dtype)
        if self.normalise:
            pooled = F.normalize(pooled, dim=-1)
        shifts = [net(pooled) for net in self.nets]
        return torch.stack([shifts[net] for net in self.levels], dim=1)

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor], form: ShiftForm) -> ImageShift:
        """A frozen shift from its ``state_dict``.

        Raises:
            DamagedError: The tensors are not those of such a shift.
        """
        matrices = [(k, v) for k, v in tensors.items() if k.startswith("nets.0.") and v.ndim == 2]
        if not matrices:
            raise DamagedError("the checkpoint says its prompts follow the image but holds no meta-nets")
        matrices.sort(key=lambda item: [int(part) for part in item[0].split(".") if part.isdigit()])
        try:
            # No memory is taken for sizes that a damaged file only claims.
            with torch.device("meta"):
                inputs, outputs = matrices[0][1].shape[1], matrices[-1][1].shape[0]
                nets = nn.ModuleList(form.net.build(inputs, outputs) for _ in range(form.nets))
                shift = cls(nets, form)
            shift.load_state_dict(tensors, assign=True)
        except (RuntimeError, ValueError, IndexError) as error:
            raise DamagedError(f"the meta-nets' tensors do not fit: {error}") from error
        return shift.eval().requires_grad_(False)
