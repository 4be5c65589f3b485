"""From a segmentation to what a client reads."""

from __future__ import annotations

from base64 import b64encode

from models_store import rle
from models_store.checkpoints import BaseIdentity
from models_store.errors import BadInputError
from models_store.vlsm import VLSMSpec
from server.engine import Segmentation
from server.images import DecodedImage
from server.masks import binarize, measure
from server.render import image_png, mask_png, overlay_png, probability_png
from server.schemas import ImageInfo, MaskInfo, Output, RunLengths, SegmentAnswer, UsedCheckpoint, Versions

SINGLE = (Output.PNG, Output.PROBABILITY)


def check_output(output: Output, phrases: list[str]) -> None:
    """Raise BadInputError if an output that shows one mask is asked for several phrases."""
    if output in SINGLE and len(phrases) != 1:
        raise BadInputError(
            f"output {output.value!r} shows one mask, but there are {len(phrases)} prompts; "
            "give one prompt, or take json or overlay"
        )


def versions_of(result: Segmentation, spec: VLSMSpec) -> Versions:
    """What a segmentation was made with."""
    base = BaseIdentity(name=spec.name, digest=spec.digest)
    used = result.checkpoint
    if used is None:
        return Versions(base=base, dataset=None, checkpoint=None)
    return Versions(
        base=base,
        dataset=used.reference.dataset,
        checkpoint=UsedCheckpoint(version=used.reference.version, strategy=used.strategy, digest=used.digest),
    )


def json_answer(
    image: DecodedImage, result: Segmentation, spec: VLSMSpec, *, threshold: float, probabilities: bool
) -> SegmentAnswer:
    """The answer in full; the total of the timings is left to the caller, who knows the start."""
    return SegmentAnswer(
        image=ImageInfo(
            width=image.width,
            height=image.height,
            format=image.format,
            digest=image.digest,
            pixel_spacing_mm=image.spacing,
            preview_png=b64encode(image_png(image.pixels)).decode() if probabilities else None,
        ),
        masks=[_mask(image, result, i, threshold, probabilities) for i in range(len(result.phrases))],
        threshold=threshold,
        versions=versions_of(result, spec),
        timings_ms=result.timings_ms,
    )


def _mask(
    image: DecodedImage, result: Segmentation, index: int, threshold: float, probabilities: bool
) -> MaskInfo:
    probability = result.probability(index)
    mask = binarize(probability, threshold)
    measures = measure(mask, probability, image.spacing)
    return MaskInfo(
        prompt=result.phrases[index],
        rle=RunLengths(size=(image.height, image.width), counts=rle.encode(mask)),
        box=measures.box,
        area_px=measures.area_px,
        area_mm2=measures.area_mm2,
        confidence=measures.confidence,
        probability_png=b64encode(probability_png(probability)).decode() if probabilities else None,
    )


def png_answer(image: DecodedImage, result: Segmentation, output: Output, *, threshold: float) -> bytes:
    """The answer as a picture.

    Args:
        image: The image.
        result: Its segmentation.
        output: ``png``, ``overlay`` or ``probability``.
        threshold: Where probabilities are cut.
    """
    if output is Output.PROBABILITY:
        return probability_png(result.probability(0))
    masks = (binarize(result.probability(i), threshold) for i in range(len(result.phrases)))
    return mask_png(next(masks)) if output is Output.PNG else overlay_png(image.pixels, masks)
