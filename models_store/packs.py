"""The prompt pack: what is served.

Every strategy folds to one, and so does no strategy at all, so that whoever serves has one
code path.
"""

from __future__ import annotations

import copy
import json
from dataclasses import asdict, dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from models_store.digests import tensors_digest
from models_store.errors import DamagedError, MismatchError
from models_store.heads import AdditiveHead, HeadMode, head_from_tensors
from models_store.shift import ImageShift, ShiftForm
from models_store.vlsm import FrozenVLSM, ImageFeatures, TextFeatures, Tokens, VLSMSpec


@dataclass(frozen=True)
class PromptPack:
    """Folded prompts, image-conditioned shift and head; any part may be absent.

    Attributes:
        text: [D, n, d_t] float32, in the order of the layers they enter.
        visual: [D, n, d_v] float32.
        head: The head, frozen; None means the model's own logits.
        shift: What an image adds to the text prompts (CoCoOp), frozen; None adds nothing.
    """

    text: Tensor | None = None
    visual: Tensor | None = None
    head: AdditiveHead | None = None
    shift: ImageShift | None = None

    def __post_init__(self) -> None:
        for name, prompts in (("text", self.text), ("visual", self.visual)):
            if prompts is not None and prompts.ndim != 3:
                raise DamagedError(
                    f"{name} prompts have shape {tuple(prompts.shape)}; expected [depth, n, width]"
                )
        if self.shift is not None:
            depth, width = (0, 0) if self.text is None else (self.text.shape[0], self.text.shape[2])
            if (len(self.shift.levels), self.shift.outputs) != (depth, width):
                raise DamagedError(
                    f"a shift of {len(self.shift.levels)} levels of width {self.shift.outputs} does not fit "
                    f"text prompts of depth {depth} and width {width}"
                )

    @property
    def head_mode(self) -> HeadMode:
        return HeadMode.NONE if self.head is None else self.head.mode

    @property
    def shift_form(self) -> ShiftForm | None:
        return None if self.shift is None else self.shift.form

    @property
    def text_tokens(self) -> int:
        """Text positions the prompts take."""
        return 0 if self.text is None else self.text.shape[1]

    @property
    def needs_pooled(self) -> bool:
        """Whether text prompts depend on the image, by its pooled feature."""
        return self.shift is not None

    def to(self, device: str | torch.device) -> PromptPack:
        """The pack on a device; this one stays where it is."""
        text, visual = (None if p is None else p.to(device) for p in (self.text, self.visual))
        head = None if self.head is None else copy.deepcopy(self.head).to(device)
        shift = None if self.shift is None else copy.deepcopy(self.shift).to(device)
        return replace(self, text=text, visual=visual, head=head, shift=shift)

    def tensors(self) -> dict[str, Tensor]:
        """The pack as named tensors, for a file."""
        named = {"text": self.text, "visual": self.visual}
        for name, module in (("head", self.head), ("shift", self.shift)):
            if module is not None:
                named |= {f"{name}.{k}": v for k, v in module.state_dict().items()}
        return {k: v.detach().float().cpu().contiguous() for k, v in named.items() if v is not None}

    @classmethod
    def from_tensors(
        cls, tensors: dict[str, Tensor], head_mode: HeadMode, shift_form: ShiftForm | None = None
    ) -> PromptPack:
        """The inverse of :meth:`tensors`.

        Raises:
            DamagedError: The tensors do not make up a pack with such a head and shift.
        """

        def under(prefix: str) -> dict[str, Tensor]:
            return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

        of_head, of_shift = under("head."), under("shift.")
        if of_shift and shift_form is None:
            raise DamagedError("the checkpoint holds meta-nets but does not say of which form")
        return cls(
            tensors.get("text"),
            tensors.get("visual"),
            None if head_mode is HeadMode.NONE else head_from_tensors(of_head, head_mode),
            None if shift_form is None else ImageShift.from_tensors(of_shift, shift_form),
        )

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the tensors, the head's mode and the shift's form."""
        marked = self.tensors() | {f"mode.{self.head_mode.value}": torch.zeros(0)}
        if self.shift is not None:
            marked[f"form.{json.dumps(asdict(self.shift.form), sort_keys=True)}"] = torch.zeros(0)
        return tensors_digest(marked)

    @cached_property
    def visual_digest(self) -> str:
        """SHA-256 of the visual prompts; the same for all packs that leave the image alone."""
        return tensors_digest({} if self.visual is None else {"visual": self.visual})

    def check_fits(self, spec: VLSMSpec) -> None:
        """Raise MismatchError unless prompts, shift and head have this model's sizes."""
        if self.visual is not None and not spec.takes_visual_prompts:
            raise MismatchError(f"{spec.name} ({spec.family}) takes no visual prompts, only text prompts")
        # CRIS hands every word to its decoder, so one more level shows: it enters before the final norm.
        text_layers = spec.text_layers + 1 if spec.family == "cris" else spec.text_layers
        limits = (
            ("text", self.text, spec.text_width, text_layers),
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
        if self.shift is not None and self.shift.inputs != spec.pooled_width:
            raise MismatchError(
                f"prompts that follow an image feature of width {self.shift.inputs} do not fit {spec.name}, "
                f"whose pooled feature has width {spec.pooled_width}"
            )
        self._check_head(spec)

    def _check_head(self, spec: VLSMSpec) -> None:
        if self.head is None:
            return
        has, wants = (self.head.channels, self.head.reduced), (spec.grid_channels, spec.head_channels)
        if has != wants:
            ours, theirs = (
                f"{channels} channels" + (f" reduced to {reduced}" if reduced else "")
                for channels, reduced in (has, wants)
            )
            raise MismatchError(f"a head of {ours} does not fit {spec.name}, whose grid asks for {theirs}")


ZERO_SHOT = PromptPack()


def encode_phrases(
    vlsm: FrozenVLSM, pack: PromptPack, tokens: Tokens, image: ImageFeatures | None = None
) -> TextFeatures:
    """Features of phrases under a pack.

    Args:
        vlsm: The frozen model.
        pack: Folded, or holding live tensors that take gradients.
        tokens: B phrases.
        image: Of B images, with the pooled feature; only read where ``pack.needs_pooled``.
    """
    if pack.shift is None or pack.text is None:
        return vlsm.encode_text(tokens, pack.text)
    pooled = None if image is None else image.pooled
    if pooled is None or len(pooled) != len(tokens):
        have = "no pooled features" if pooled is None else f"{len(pooled)} pooled features"
        raise ValueError(f"these prompts follow the image: {len(tokens)} phrases need as many, not {have}")
    prompts = pack.text + pack.shift(pooled)[:, :, None]  # [B, D, n, d_t]
    return vlsm.encode_text(tokens, prompts)


def decode_pack(vlsm: FrozenVLSM, pack: PromptPack, image: ImageFeatures, text: TextFeatures) -> Tensor:
    """Logits [B, 1, S, S] of B encoded images and phrases, with the pack's head applied."""
    decoded = vlsm.decode(image, text)
    return decoded.logits if pack.head is None else pack.head(decoded)


def segment_logits(vlsm: FrozenVLSM, pack: PromptPack, pixels: Tensor, tokens: Tokens) -> Tensor:
    """The whole way from pixels and phrases to logits under a pack.

    The same functions serve folded packs and live learners, so that what is trained is what is served.

    Args:
        vlsm: The frozen model.
        pack: Folded, or holding live tensors that take gradients.
        pixels: [B, 3, S, S], normalised.
        tokens: B phrases, or one for all rows.

    Returns:
        Logits [B, 1, S, S].
    """
    image = vlsm.encode_image(pixels, pack.visual, pooled=pack.needs_pooled)
    if pack.needs_pooled and len(tokens) == 1:
        tokens = Tokens(tokens.ids.expand(len(image), -1), tokens.mask.expand(len(image), -1))
    text = encode_phrases(vlsm, pack, tokens, image)
    if len(text) == 1 and len(image) > 1:
        text = text.expand(len(image))
    return decode_pack(vlsm, pack, image, text)
