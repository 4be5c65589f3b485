"""What to label next."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from server import problem_kinds as kinds
from server import problems
from server.routes.labels_docs import Name
from server.routes.parts import PartsOf
from server.schemas.label_queue import LabelQueue, SuggestedImage
from server.schemas.texts import Text

router = APIRouter(tags=["labels"])
REFUSED = problems.problem_responses(
    kinds.UNKNOWN_LABELS,
    kinds.INVALID_REQUEST,
    kinds.BAD_INPUT,
    kinds.MISMATCH,
    kinds.DAMAGED,
    kinds.STORE_BUSY,
)
Order = Literal["combined", "uncertainty", "disagreement", "distance", "random", "as-is"]


@router.get("/datasets/{name}/queue", responses=REFUSED)
def label_queue(
    parts: PartsOf,
    name: Name,
    order: Annotated[Order, Query(description="What to order by.")] = "combined",
    limit: Annotated[int, Query(ge=1, le=100, description="At most so many images.")] = 10,
    pool: Annotated[
        int, Query(ge=1, le=500, description="At most so many unlabelled images are compared.")
    ] = 100,
    phrase: Annotated[
        list[Text] | None,
        Query(max_length=8, description="What to ask them for. Default: what accepted annotations show."),
    ] = None,
    seed: Annotated[int, Query(ge=0, le=2**31 - 1, description="Of the random order.")] = 0,
) -> LabelQueue:
    """Unlabelled images in the order in which labels should help most, each with why.

    The masks of champion, candidate and untuned model are looked at; a first question costs an
    encoding of every image compared, later ones little.
    """
    found = parts.suggestions.queue(
        parts.labels.existing,
        name,
        order=order,
        limit=limit,
        pool=pool,
        phrases=phrase or (),
        seed=seed,
    )
    images = [
        SuggestedImage(
            id=image.id,
            name=image.name,
            split=image.split,
            reason=why.reason,
            gain=why.gain,
            uncertainty=why.uncertainty,
            disagreement=why.disagreement,
            distance=why.distance,
        )
        for image, why in found.images
    ]
    return LabelQueue(
        dataset=name,
        order=order,
        images=images,
        considered=found.considered,
        unlabelled=found.unlabelled,
        checkpoints=list(found.checkpoints),
        phrases=list(found.phrases),
    )
