"""From segmentations to the JSON that a client reads."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from models_store import rle
from models_store.identity import BaseIdentity
from models_store.presence import is_absent, presence_of
from models_store.vlsm import VLSMSpec
from server.engine import Segmentation
from server.masks import measure
from server.outputs.cases import Case, Wish
from server.render import image_png, probability_png
from server.schemas import (
    Hit,
    ImageAnswer,
    ImageInfo,
    MaskInfo,
    RunLengths,
    SegmentAnswer,
    SegmentAnswers,
    UsedCheckpoint,
    Versions,
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
        checkpoint=UsedCheckpoint(
            version=used.reference.version,
            strategy=used.strategy,
            digest=used.digest,
            instead_of=None if result.instead_of is None else str(result.instead_of),
        ),
    )


def json_answer(
    cases: Sequence[Case], spec: VLSMSpec, wish: Wish, timings_ms: Mapping[str, float]
) -> SegmentAnswer | SegmentAnswers:
    """The answer in full: one image's own shape, or a list of several.

    Args:
        cases: One or more, all made with one checkpoint.
        spec: The frozen model.
        wish: How it is wanted.
        timings_ms: Milliseconds so far; the total is the caller's, who knows the start.
    """
    images = [_image(case, wish) for case in cases]
    versions = versions_of(cases[0].result, spec)
    cache = cache_of(cases)
    if len(images) == 1:
        return SegmentAnswer(
            image=images[0].image,
            masks=images[0].masks,
            threshold=wish.threshold,
            combine=wish.combine,
            versions=versions,
            cache=cache,
            timings_ms=dict(timings_ms),
        )
    return SegmentAnswers(
        images=images,
        threshold=wish.threshold,
        combine=wish.combine,
        versions=versions,
        cache=cache,
        timings_ms=dict(timings_ms),
    )


def _image(case: Case, wish: Wish) -> ImageAnswer:
    image = case.image
    presence = presence_of(case.result.logits).tolist()
    cut = None if case.result.checkpoint is None else case.result.checkpoint.presence
    pairs = case.masks(wish.threshold, wish.combine)
    return ImageAnswer(
        image=ImageInfo(
            width=image.width,
            height=image.height,
            format=image.format,
            digest=image.digest,
            pixel_spacing_mm=image.spacing,
            source=case.source,
            frame=image.frame,
            frames=image.frames,
            preview_png=b64encode(image_png(image.pixels)).decode() if wish.probabilities else None,
        ),
        masks=[
            _mask(case, index, *pair, presence[index], is_absent(presence[index], cut), wish.probabilities)
            for index, pair in enumerate(pairs)
        ],
    )


def _mask(
    case: Case,
    index: int,
    mask: NDArray[np.bool_],
    probability: NDArray[np.float32],
    presence: float,
    absent: bool | None,
    probabilities: bool,
) -> MaskInfo:
    measures = measure(mask, probability, case.image.spacing)
    return MaskInfo(
        prompt=case.phrases[index],
        label=index + 1,
        rle=RunLengths(size=(case.image.height, case.image.width), counts=rle.encode(mask)),
        box=measures.box,
        area_px=measures.area_px,
        area_mm2=measures.area_mm2,
        confidence=measures.confidence,
        presence=presence,
        absent=absent,
        probability_png=b64encode(probability_png(probability)).decode() if probabilities else None,
    )


def cache_of(cases: Sequence[Case]) -> dict[str, Hit]:
    """What was there already; of several images, ``hit`` means for all of them."""
    together: dict[str, Hit] = {}
    for case in cases:
        for kind, found in case.result.cache.items():
            together[kind] = "hit" if found == "hit" and together.get(kind, "hit") == "hit" else "miss"
    return together
