"""Masks, label maps, probabilities and overlays as PNG files."""

from __future__ import annotations

from server.outputs.cases import Case, Wish, Written
from server.render import deep_probability_png, labels_png, mask_png, overlay_png, probability_png
from server.schemas import Combine

PNG = "image/png"


def _written(content: bytes) -> Written:
    return Written(content, PNG, ".png")


def mask_picture(case: Case, wish: Wish) -> Written:
    """The mask of the one phrase, 255 inside; combined, the label map, each pixel its label."""
    if wish.combine is Combine.LABELS:
        return _written(labels_png(case.labels(wish.threshold)))
    mask, _ = next(case.masks(wish.threshold, wish.combine))
    return _written(mask_png(mask))


def probability_picture(case: Case, _: Wish) -> Written:
    """The probability map of the one phrase, in 256 steps."""
    return _written(probability_png(case.result.probability(0)))


def deep_probability_picture(case: Case, _: Wish) -> Written:
    """The probability map of the one phrase, in 65,536 steps."""
    return _written(deep_probability_png(case.result.probability(0)))


def overlay_picture(case: Case, wish: Wish) -> Written:
    """The image under all masks."""
    masks = (mask for mask, _ in case.masks(wish.threshold, wish.combine))
    return _written(overlay_png(case.image.pixels, masks))
