"""``GET /metrics``: what a Prometheus server scrapes."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST

from server.routes.parts import PartsOf

router = APIRouter(tags=["service"])
TEXT = {"schema": {"type": "string"}}
CONTENT = {"text/plain": TEXT, CONTENT_TYPE_LATEST.partition(";")[0]: TEXT}


@router.get("/metrics", response_class=Response, responses={200: {"content": CONTENT}})
async def metrics(parts: PartsOf, request: Request) -> Response:
    """Counts, durations, caches, swaps and memory, in Prometheus' text format.

    No series holds an image, a phrase, a user or a name from a registry.
    """
    content, media_type = parts.metrics.written(request.headers.get("accept", ""))
    return Response(content, media_type=media_type)
