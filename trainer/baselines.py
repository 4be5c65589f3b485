"""What prompts are compared with: tuning the base model itself, its decoder or all of it.

Each is a learner like any strategy, so that the same loop tunes it, but its values are weights
of a copy of the base model and its pack is empty. The shared frozen model never changes.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from models_store.errors import BadInputError, UnknownNameError
from models_store.packs import ZERO_SHOT, PromptPack
from models_store.strategies.learner import PromptLearner
from models_store.vlsm import FrozenVLSM

DECODER, END_TO_END = "decoder", "end-to-end"
TUNED_BASELINES = (DECODER, END_TO_END)
# What comes after the two encoders, by family.
DECODER_MODULES = {"clipseg": ("decoder",), "cris": ("neck", "decoder", "proj")}


class HoldsNetwork(FrozenVLSM, Protocol):
    """A frozen model that keeps its weights in one module."""

    network: nn.Module


class TunedBase(PromptLearner):
    """Weights of a copy of the base model, to be tuned in place.

    Unlike the reference's end-to-end CLIPSeg, whose encoders ran without gradients, all that the
    masks depend on is tuned when ``part`` says so. Weights the masks do not depend on (such as
    vision layers beyond the last one the decoder reads) are neither tuned nor counted.

    Args:
        vlsm: The frozen model; it is copied.
        part: ``decoder`` (with CRIS's neck and projector) or ``end-to-end``.
        batch_statistics: Whether batch normalisation learns the statistics of training batches;
            by default it keeps the base model's, as small batches of one dataset spoil them.

    Attributes:
        vlsm: The copy, which is to be measured in place of the base model.
    """

    tunes_base = True

    def __init__(self, vlsm: FrozenVLSM, *, part: str, batch_statistics: bool = False):
        super().__init__()
        if part not in TUNED_BASELINES:
            raise UnknownNameError(f"no baseline {part!r}; there are {', '.join(TUNED_BASELINES)}")
        self.head = None
        self.vlsm = _tunable_copy(vlsm)
        self.batch_statistics = batch_statistics
        names = DECODER_MODULES[vlsm.spec.family]
        network = self.vlsm.network
        self.parts = nn.ModuleDict(
            {"network": network} if part == END_TO_END else {name: getattr(network, name) for name in names}
        )
        for parameter in self.parts.parameters():
            parameter.requires_grad_(True)
        self._leave_out_unread()
        self.eval()

    def _leave_out_unread(self) -> None:
        """Freeze weights that no gradient of a mask reaches."""
        side, device = self.vlsm.spec.image_size, next(self.parts.parameters()).device
        image = self.vlsm.encode_image(torch.zeros(1, 3, side, side, device=device))
        text = self.vlsm.encode_text(self.vlsm.tokenize(["thing"]))
        self.vlsm.decode(image, text).logits.sum().backward()
        for parameter in self.parts.parameters():
            parameter.requires_grad_(parameter.grad is not None)
            parameter.grad = None

    def prompts(self) -> tuple[None, None]:
        return None, None

    def pack(self) -> PromptPack:
        return ZERO_SHOT

    def fold(self) -> PromptPack:
        """The empty pack; :attr:`vlsm` is in evaluation mode from here until training goes on."""
        self.eval()
        return ZERO_SHOT

    def train(self, mode: bool = True) -> TunedBase:
        """Switch modes; batch normalisation stays in evaluation mode unless asked for."""
        super().train(mode)
        for part in self.parts.values():
            # The class's own switch, as a network may refuse to leave evaluation mode by itself.
            nn.Module.train(part, mode)
        if not self.batch_statistics:
            for module in self.parts.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def parameter_count(self) -> int:
        """Number of weights that are tuned."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)


def _tunable_copy(vlsm: FrozenVLSM) -> HoldsNetwork:
    network = getattr(vlsm, "network", None)
    if not isinstance(network, nn.Module) or vlsm.spec.family not in DECODER_MODULES:
        families: Sequence[str] = sorted(DECODER_MODULES)
        raise BadInputError(
            f"{vlsm.spec.name} ({vlsm.spec.family}) has no weights to tune; families that have: "
            f"{', '.join(families)}"
        )
    twin: HoldsNetwork = copy.copy(vlsm)  # type: ignore[assignment]
    twin.network = copy.deepcopy(network)
    return twin
