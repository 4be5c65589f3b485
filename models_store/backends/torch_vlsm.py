"""A frozen model in torch with lower precision on a GPU, or compiled."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from models_store.backends.report import BackendReport
from models_store.mixed.prompts import MixedPrompts
from models_store.vlsm import Decoded, ImageFeatures, TextFeatures, Tokens


class TorchVLSM:
    """The base model as it was loaded, with a report; under autocast where asked.

    Args:
        base: A frozen model in torch.
        report: What is said of it in ``/capabilities``.
        autocast: bfloat16 or float16 on a GPU; None leaves single precision.
        compiled: Whether the steps go through ``torch.compile``; shapes may vary.
    """

    takes_mixed_prompts = True

    def __init__(
        self, base: Any, report: BackendReport, *, autocast: torch.dtype | None = None, compiled: bool = False
    ):
        self.base = base
        self.spec = base.spec
        self.tokenizer = base.tokenizer
        self.network = base.network
        self.backend = report
        self.autocast = autocast
        steps = (base.encode_image, base.encode_text, base.decode)
        self._image, self._text, self._decode = (
            torch.compile(step, dynamic=True) if compiled else step for step in steps
        )

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = self.base.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """What products are made in, and so what features depend on."""
        return self.autocast or torch.float32

    def _precision(self) -> AbstractContextManager[Any]:
        if self.autocast is None:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.autocast)

    def tokenize(self, phrases: list[str], prompt_tokens: int = 0) -> Tokens:
        """Tokenise phrases to one length."""
        tokens: Tokens = self.base.tokenize(phrases, prompt_tokens)
        return tokens

    def embed_phrase(self, phrase: str) -> Tensor:
        """Token embeddings [n, d_t] of a phrase."""
        embedded: Tensor = self.base.embed_phrase(phrase)
        return embedded

    def encode_image(
        self, pixels: Tensor, visual_prompts: Tensor | MixedPrompts | None = None, *, pooled: bool = False
    ) -> ImageFeatures:
        """Encode images."""
        with self._precision():
            return self._image(pixels, visual_prompts, pooled=pooled)

    def encode_text(self, tokens: Tokens, text_prompts: Tensor | MixedPrompts | None = None) -> TextFeatures:
        """Encode phrases."""
        with self._precision():
            return self._text(tokens, text_prompts)

    def decode(self, image: ImageFeatures, text: TextFeatures) -> Decoded:
        """Draw the mask; grid and logits are of single precision again."""
        with self._precision():
            decoded = self._decode(image, text)
        return Decoded(decoded.grid.float(), decoded.logits.float())
