"""The prompt pack: what is served.

Every strategy folds to one, and so does no strategy at all, so that whoever serves has one
code path.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from models_store.digests import tensors_digest
from models_store.errors import DamagedError, MismatchError
from models_store.heads import AdditiveHead, HeadMode
from models_store.vlsm import FrozenVLSM, Tokens, VLSMSpec


@dataclass(frozen=True)
class PromptPack:
    """Folded prompts and head; any part may be absent.

    Attributes:
        text: [D, n, d_t] float32, in the order of the layers they enter.
        visual: [D, n, d_v] float32.
        head: The head, frozen; None means the model's own logits.
    """

    text: Tensor | None = None
    visual: Tensor | None = None
    head: AdditiveHead | None = None

    def __post_init__(self) -> None:
        for name, prompts in (("text", self.text), ("visual", self.visual)):
            if prompts is not None and prompts.ndim != 3:
                raise DamagedError(
                    f"{name} prompts have shape {tuple(prompts.shape)}; expected [depth, n, width]"
                )

    @property
    def head_mode(self) -> HeadMode:
        return HeadMode.NONE if self.head is None else self.head.mode

    @property
    def text_tokens(self) -> int:
        """Text positions the prompts take."""
        return 0 if self.text is None else self.text.shape[1]

    def tensors(self) -> dict[str, Tensor]:
        """The pack as named tensors, for a file."""
        named = {"text": self.text, "visual": self.visual}
        if self.head is not None:
            named |= {f"head.{k}": v for k, v in self.head.state_dict().items()}
        return {k: v.detach().float().cpu().contiguous() for k, v in named.items() if v is not None}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor], head_mode: HeadMode) -> PromptPack:
        """The inverse of :meth:`tensors`.

        Raises:
            DamagedError: The tensors do not make up a pack with such a head.
        """
        state = {k.removeprefix("head."): v for k, v in tensors.items() if k.startswith("head.")}
        head = None
        if head_mode is not HeadMode.NONE:
            weight = state.get("conv.weight")
            if weight is None or weight.ndim != 4:
                raise DamagedError(f"the checkpoint says head {head_mode.value!r} but holds no head")
            head = AdditiveHead(weight.shape[1], head_mode).eval().requires_grad_(False)
            try:
                head.load_state_dict(state)
            except RuntimeError as error:
                raise DamagedError(f"the head's tensors do not fit: {error}") from error
        return cls(tensors.get("text"), tensors.get("visual"), head)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the tensors and the head's mode."""
        marked = self.tensors() | {f"mode.{self.head_mode.value}": torch.zeros(0)}
        return tensors_digest(marked)

    @cached_property
    def visual_digest(self) -> str:
        """SHA-256 of the visual prompts; the same for all packs that leave the image alone."""
        return tensors_digest({} if self.visual is None else {"visual": self.visual})

    def check_fits(self, spec: VLSMSpec) -> None:
        """Raise MismatchError unless prompts and head have this model's sizes."""
        limits = (
            ("text", self.text, spec.text_width, spec.text_layers),
            ("visual", self.visual, spec.vision_width, spec.vision_layers),
        )
        for name, prompts, width, layers in limits:
            if prompts is not None and (prompts.shape[2] != width or prompts.shape[0] > layers):
                raise MismatchError(
                    f"{name} prompts of shape {tuple(prompts.shape)} do not fit {spec.name}: "
                    f"width must be {width} and depth at most {layers}"
                )
        if self.text_tokens > spec.most_prompts:
            raise MismatchError(
                f"{self.text_tokens} text prompts per layer do not fit {spec.name}, "
                f"which takes at most {spec.most_prompts}"
            )
        if self.head is not None and self.head.conv.in_channels != spec.grid_channels:
            raise MismatchError(
                f"a head of {self.head.conv.in_channels} channels does not fit {spec.name}, "
                f"whose grid has {spec.grid_channels}"
            )


ZERO_SHOT = PromptPack()


def segment_logits(vlsm: FrozenVLSM, pack: PromptPack, pixels: Tensor, tokens: Tokens) -> Tensor:
    """The whole way from pixels and phrases to logits under a pack.

    The same function serves folded packs and live learners, so that what is trained is what is served.

    Args:
        vlsm: The frozen model.
        pack: Folded, or holding live tensors that take gradients.
        pixels: [B, 3, S, S], normalised.
        tokens: B phrases, or one for all rows.

    Returns:
        Logits [B, 1, S, S].
    """
    image = vlsm.encode_image(pixels, pack.visual)
    text = vlsm.encode_text(tokens, pack.text)
    if len(text) == 1 and len(image) > 1:
        text = type(text)(text.cond.expand(len(image), -1))
    decoded = vlsm.decode(image, text)
    return decoded.logits if pack.head is None else pack.head(decoded)
