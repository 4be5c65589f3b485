"""Exported graphs against the network they come from."""

from __future__ import annotations

import torch
from torch import Tensor

from models_store.packs import PromptPack, segment_logits
from models_store.vlsm import FrozenVLSM

# Of the largest logit.
TOLERANCE = 1e-4
PHRASES = ["liver", "a small polyp, seen from the left side"]


@torch.inference_mode()
def largest_error(reference: FrozenVLSM, other: FrozenVLSM) -> float:
    """Largest difference of logits and pooled features, as a share of the largest value.

    Two images under two phrases, without prompts, with shallow ones and with many of full depth.

    Args:
        reference: The model in torch.
        other: The same model elsewhere.
    """
    spec = reference.spec
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(2, 3, spec.image_size, spec.image_size, generator=generator)

    def prompts(depth: int, n: int, width: int) -> Tensor:
        # Of the size that learned prompts have.
        return torch.randn(depth, n, width, generator=generator) * 0.1

    visual = spec.takes_visual_prompts
    packs = [PromptPack()] + [
        PromptPack(
            prompts(min(depth, spec.text_layers), n, spec.text_width),
            prompts(min(depth, spec.vision_layers), n, spec.vision_width) if visual else None,
        )
        for depth, n in ((1, 1), (99, 4))
    ]
    errors = []
    for pack in packs:
        got, wanted = (
            segment_logits(vlsm, pack, pixels, vlsm.tokenize(PHRASES, pack.text_tokens))
            for vlsm in (other, reference)
        )
        errors.append(_share(got, wanted))
    got_pooled, wanted_pooled = (
        vlsm.encode_image(pixels, packs[-1].visual, pooled=True).pooled for vlsm in (other, reference)
    )
    if got_pooled is None or wanted_pooled is None:
        raise ValueError("the pooled feature was asked for, and there is none")
    return max(*errors, _share(got_pooled, wanted_pooled))


def _share(got: Tensor, wanted: Tensor) -> float:
    if not bool(got.isfinite().all()):
        return float("inf")
    return float((got - wanted).abs().max() / wanted.abs().max().clamp(min=1e-6))
