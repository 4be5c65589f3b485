"""The contract every frozen vision-language segmentation model (VLSM) meets.

Three steps, each a pure function of its inputs, so that the results can be cached,
batched and shared between requests:

    encode_image(pixels, visual_prompts) -> ImageFeatures
    encode_text(tokens, text_prompts)    -> TextFeatures
    decode(image, text)                  -> Decoded (grid features and logits)

Prompts are plain tensors. Who learned them, and how, is not the model's business.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class VLSMSpec:
    """Sizes and identity of a frozen model.

    Attributes:
        name: The name it was asked for by (``clipseg-tiny-med``, a hub id or a folder's name).
        family: ``clipseg`` or ``cris``.
        digest: SHA-256 of the weights file, hexadecimal.
        image_size: Side in pixels of the square the model sees.
        patch_size: Stride of the decoder grid in pixels.
        text_width, text_layers, text_positions: Text tower; positions include BOS and EOS.
        vision_width, vision_layers: Vision tower; 0 where it takes no prompts (CRIS).
        last_vision_layer: The deepest layer the decoder reads, counted from 1. Visual prompts
            beyond it can change nothing.
        projection_dim: Width of the conditional embedding.
        pooled_width: Width of the image's pooled feature, which image-conditioned prompts read.
        grid_channels: Channels of the decoder grid, which heads read.
        head_channels: Channels a head first reduces the grid to; None where it reads it as it is.
        mean, std: Normalisation of pixels in 0..1, per channel.
        resample: Pillow's number of the resize filter (2 bilinear, 3 bicubic).
    """

    name: str
    family: str
    digest: str
    image_size: int
    patch_size: int
    text_width: int
    text_layers: int
    text_positions: int
    vision_width: int
    vision_layers: int
    last_vision_layer: int
    projection_dim: int
    pooled_width: int
    grid_channels: int
    head_channels: int | None
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resample: int

    @property
    def max_depth(self) -> int:
        """Deepest prompt depth any strategy may ask for."""
        return min(self.text_layers, self.vision_layers) if self.takes_visual_prompts else self.text_layers

    @property
    def takes_visual_prompts(self) -> bool:
        """Whether the vision tower is a transformer that prompts can enter."""
        return self.vision_layers > 0

    @property
    def most_prompts(self) -> int:
        """Most prompt tokens per layer; they leave half of the text positions to the phrase."""
        return self.text_positions // 2

    @property
    def preprocessing(self) -> dict[str, Any]:
        """How pixels are prepared, as a checkpoint records it and JSON gives it back."""
        return {
            "image_size": self.image_size,
            "mean": list(self.mean),
            "std": list(self.std),
            "resample": self.resample,
        }


@dataclass(frozen=True)
class Tokens:
    """Tokenised phrases: ``ids`` [B, L] int64 and ``mask`` [B, L], 1 where the token is real."""

    ids: Tensor
    mask: Tensor

    def __len__(self) -> int:
        return self.ids.shape[0]

    def select(self, rows: Tensor) -> Tokens:
        """The phrases at the indices ``rows`` [R], which may repeat."""
        return Tokens(self.ids[rows], self.mask[rows])

    def to(self, device: torch.device) -> Tokens:
        return Tokens(self.ids.to(device), self.mask.to(device))


@dataclass(frozen=True)
class ImageFeatures:
    """What the decoder needs of an image.

    Attributes:
        activations: What the decoder reads. CLIPSeg: one [B, 1 + gh*gw + n, d_v] per extracted
            layer, shallow first. CRIS: the maps C3, C4, C5, each [B, C, h, w].
        fine: Maps of a convolutional stem at finer strides, fine to coarse; empty without one.
        grid: Rows and columns (gh, gw) of the decoder grid.
        prompts: Number n of visual prompt tokens at the end of each activation.
        pooled: [B, pooled_width], where it was asked for.
    """

    activations: tuple[Tensor, ...]
    fine: tuple[Tensor, ...]
    grid: tuple[int, int]
    prompts: int
    pooled: Tensor | None = None

    def __len__(self) -> int:
        return self.activations[0].shape[0]

    def expand(self, rows: int) -> ImageFeatures:
        """The features of one image, viewed as a batch of ``rows`` without copying."""
        return self.map(lambda x: x.expand(rows, *x.shape[1:]))

    def select(self, rows: Tensor) -> ImageFeatures:
        """The features of the images at the indices ``rows`` [R], which may repeat."""
        return self.map(lambda x: x[rows])

    def map(self, change: Callable[[Tensor], Tensor]) -> ImageFeatures:
        """The same features with every tensor changed."""
        return replace(
            self,
            activations=tuple(map(change, self.activations)),
            fine=tuple(map(change, self.fine)),
            pooled=None if self.pooled is None else change(self.pooled),
        )


@dataclass(frozen=True)
class TextFeatures:
    """What the decoder needs of a phrase.

    Attributes:
        cond: The pooled embedding [B, projection_dim].
        words: CRIS only: every token's features [B, L + n, d_t].
        padding: CRIS only: [B, L + n], true where a token is padding.
    """

    cond: Tensor
    words: Tensor | None = None
    padding: Tensor | None = None

    def __len__(self) -> int:
        return self.cond.shape[0]

    def expand(self, rows: int) -> TextFeatures:
        """The features of one phrase, viewed as a batch of ``rows`` without copying."""
        return self.map(lambda x: x.expand(rows, *x.shape[1:]))

    def select(self, rows: Tensor) -> TextFeatures:
        """The features of the phrases at the indices ``rows`` [R], which may repeat."""
        return self.map(lambda x: x[rows])

    def map(self, change: Callable[[Tensor], Tensor]) -> TextFeatures:
        """The same features with every tensor changed."""
        words, padding = (None if x is None else change(x) for x in (self.words, self.padding))
        return TextFeatures(change(self.cond), words, padding)


@dataclass(frozen=True)
class Decoded:
    """Output of the decoder: ``grid`` [B, C, gh, gw] and the model's own ``logits`` [B, 1, H, W]."""

    grid: Tensor
    logits: Tensor


@runtime_checkable
class FrozenVLSM(Protocol):
    """A frozen segmentation model. Implementations hold no state between calls."""

    spec: VLSMSpec

    def tokenize(self, phrases: list[str], prompt_tokens: int = 0) -> Tokens:
        """Tokenise phrases, leaving room for ``prompt_tokens`` inserted prompt positions."""

    def embed_phrase(self, phrase: str) -> Tensor:
        """Token embeddings [n, d_t] of a phrase without BOS, EOS and positions."""

    def encode_image(
        self, pixels: Tensor, visual_prompts: Tensor | None = None, *, pooled: bool = False
    ) -> ImageFeatures:
        """Encode normalised pixels [B, 3, H, W] with prompts [D, n, d_v] or [B, D, n, d_v].

        ``pooled`` asks for the pooled feature too, which may cost further layers.
        """

    def encode_text(self, tokens: Tokens, text_prompts: Tensor | None = None) -> TextFeatures:
        """Encode tokens with prompts [D, n, d_t] or [B, D, n, d_t]."""

    def decode(self, image: ImageFeatures, text: TextFeatures) -> Decoded:
        """Logits for every row; image and text have the same number of rows."""
