"""Whether the service lives, is ready, and what it can do."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version

from fastapi import APIRouter, Response
from starlette.exceptions import HTTPException

from models_store.backends.report import describe
from models_store.strategies import STRATEGIES
from server import problem_kinds as kinds
from server import problems
from server.engine import DEFAULT_THRESHOLD
from server.images import FORMATS
from server.problem_kinds import KINDS
from server.problems import Problem
from server.render import colour_of
from server.routes.parts import PartsOf
from server.schemas import Capabilities, Health, Output, Readiness

router = APIRouter(tags=["service"])
DISTRIBUTION = "tunevlseg-studio"


@router.get("/healthz")
async def healthz() -> Health:
    """The process lives."""
    return Health(status="ok")


@router.get("/readyz", responses={503: {"model": Readiness, "description": "No mask has been made yet."}})
async def readyz(parts: PartsOf, response: Response) -> Readiness:
    """The base model has made a real mask."""
    if not parts.warmup.ready:
        response.status_code = 503
    # A damaged version has an earlier one that stands in for it, so the service is ready all the same.
    return Readiness(
        ready=parts.warmup.ready, detail="; ".join([parts.warmup.detail, *parts.engine.faults()])
    )


@router.get("/capabilities")
async def capabilities(parts: PartsOf) -> Capabilities:
    """Base model, strategies, outputs, formats and limits."""
    settings = parts.settings
    return Capabilities(
        base=asdict(parts.engine.vlsm.spec),
        backend=describe(parts.engine.vlsm),
        strategies=sorted(STRATEGIES),
        outputs=list(Output),
        image_formats=list(FORMATS),
        limits={
            "max_upload_bytes": settings.max_upload_bytes,
            "max_pixels": settings.max_pixels,
            "max_archive_bytes": settings.max_archive_bytes,
            "max_archive_entries": settings.max_archive_entries,
            "max_unpacked_bytes": settings.max_unpacked_bytes,
            "max_phrases": settings.max_phrases,
            "max_phrase_length": settings.max_phrase_length,
            "queue_length": settings.queue_length,
            "batch_rows": settings.batch_rows,
            "max_images": settings.max_images,
            "max_total_pixels": settings.max_total_pixels,
            "max_masks": settings.max_masks,
        },
        default_threshold=DEFAULT_THRESHOLD,
        overlay_colours=["#{:02x}{:02x}{:02x}".format(*colour_of(i)) for i in range(settings.max_phrases)],
        faults=parts.engine.faults(),
        version=version(DISTRIBUTION),
    )


@router.get("/problems/{slug}", responses=problems.problem_responses(kinds.NOT_FOUND, kinds.INVALID_REQUEST))
async def problem(slug: str) -> Problem:
    """What a problem's type means."""
    kind = KINDS.get(slug)
    if kind is None:
        raise HTTPException(404, f"no problem type {slug[:100]!r}; there are: {', '.join(KINDS)}")
    return Problem(type=kind.type, title=kind.title, status=kind.status, detail=kind.meaning)
