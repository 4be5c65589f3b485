"""From an image of any size to what the model sees, and back to the image's own size."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from models_store.vlsm import VLSMSpec


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
