"""From an image of any size to what the model sees, and back to the image's own size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from models_store.vlsm import VLSMSpec

# What CLIPSeg's image processor does where its file does not say.
DEFAULT_RESAMPLE = Image.Resampling.BILINEAR


@dataclass(frozen=True)
class Preprocessing:
    """Side of the square, normalisation per channel of pixels in 0..1, and Pillow's filter number."""

    side: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resample: int


def read_preprocessing(raw: dict[str, Any], side: int, multiple: int) -> Preprocessing:
    """What ``preprocessor_config.json`` says.

    Args:
        raw: Its content.
        side: Side of the square where it does not say.
        multiple: What the side must be a multiple of.

    Raises:
        ValueError: It does not make such squares, or its normalisation or filter means nothing.
    """
    size = raw.get("size", side)
    sides = {size} if isinstance(size, int) else set(size.values())
    if len(sides) != 1 or min(sides) < 1 or min(sides) % multiple:
        raise ValueError(f"size {size} is not a square whose side is a multiple of {multiple}")
    red_mean, green_mean, blue_mean = map(float, raw["image_mean"])
    red_std, green_std, blue_std = map(float, raw["image_std"])
    if min(red_std, green_std, blue_std) <= 0:
        raise ValueError(f"image_std {raw['image_std']} must be positive")
    return Preprocessing(
        sides.pop(),
        (red_mean, green_mean, blue_mean),
        (red_std, green_std, blue_std),
        Image.Resampling(raw.get("resample", DEFAULT_RESAMPLE)).value,
    )


def to_pixels(image: NDArray[np.uint8], spec: VLSMSpec) -> Tensor:
    """Squash an RGB image to the model's square and normalise it.

    The aspect ratio is not kept: that is how CLIPSeg and the benchmark feed images.

    Args:
        image: [H, W, 3] uint8.
        spec: The model's sizes and normalisation.

    Returns:
        [3, S, S] float32.
    """
    side = (spec.image_size, spec.image_size)
    resized = np.asarray(Image.fromarray(image).resize(side, Image.Resampling(spec.resample)))
    scaled = torch.from_numpy(resized.copy()).permute(2, 0, 1).float() / 255
    mean, std = torch.tensor(spec.mean)[:, None, None], torch.tensor(spec.std)[:, None, None]
    return (scaled - mean) / std


def to_image_size(logits: Tensor, height: int, width: int) -> Tensor:
    """Resize logits [B, 1, S, S] to probabilities [B, height, width] at the image's own size."""
    resized = F.interpolate(logits.float(), size=(height, width), mode="bilinear")
    return resized[:, 0].sigmoid()
