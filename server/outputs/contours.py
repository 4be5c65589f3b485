"""Masks as polygons in JSON."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from server.outputs.cases import Case, Wish, Written
from server.outputs.polygons import Points, polygons_of
from server.schemas import Versions
from server.schemas.contours import ContourAnswer, ImageContours, MaskContours, PolygonInfo, Ring

# JSON of another shape than the main answer needs a name of its own to be asked for by ``Accept``.
CONTOURS = "application/vnd.tunevlseg.contours+json"


def contours(cases: Sequence[Case], wish: Wish, versions: Versions) -> Written:
    """Polygons of all masks of all images."""
    answer = ContourAnswer(
        images=[_image(case, wish) for case in cases],
        threshold=wish.threshold,
        combine=wish.combine,
        versions=versions,
    )
    return Written(answer.model_dump_json().encode(), CONTOURS, ".json")


def _image(case: Case, wish: Wish) -> ImageContours:
    masks = case.masks(wish.threshold, wish.combine)
    return ImageContours(
        source=case.source,
        frame=case.image.frame,
        size=(case.image.height, case.image.width),
        masks=[_mask(case.phrases[index], index, mask) for index, (mask, _) in enumerate(masks)],
    )


def _mask(phrase: str, index: int, mask: NDArray[np.bool_]) -> MaskContours:
    polygons = [
        PolygonInfo(exterior=_ring(each.exterior), holes=[_ring(hole) for hole in each.holes])
        for each in polygons_of(mask)
    ]
    area = int(np.count_nonzero(mask))
    return MaskContours(prompt=phrase, label=index + 1, area_px=area, polygons=polygons)


def _ring(points: Points) -> Ring:
    return [(x, y) for x, y in points.tolist()]
