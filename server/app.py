"""The application: parts in, ASGI out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from threading import BoundedSemaphore

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from server.engine import Engine
from server.jobs import BackgroundJobs
from server.labels import Labels
from server.limits import BodyLimit
from server.metrics import Metrics
from server.middleware import RequestLog
from server.problems import install_problems
from server.routes import (
    decisions,
    health,
    images,
    label_queue,
    label_uploads,
    labelled,
    registry,
    segment,
)
from server.routes import jobs as jobs_routes
from server.routes import metrics as metrics_route
from server.routes.labels_docs import TAKES_ARCHIVES
from server.routes.parts import Parts
from server.schemas import NOTICE
from server.settings import Settings
from server.suggestions import Suggestions
from server.warmup import WarmUp
from trainer.jobs.queue import open_queue

DESCRIPTION = f"""Type a phrase, get the mask. **{NOTICE}**

Every refusal is a problem document (RFC 9457, `application/problem+json`);
`GET` of its `type` says what it means."""


def create_app(*, engine: Engine, settings: Settings, metrics: Metrics | None = None) -> FastAPI:
    """Build the REST API.

    Args:
        engine: Its base model is loaded already; the first mask is made when the application starts.
        settings: Limits, and where data lies.
        metrics: What ``/metrics`` tells; give the engine's events. Default: of requests alone.
    """
    metrics = Metrics() if metrics is None else metrics
    warmup = WarmUp(engine)
    labels = Labels(settings.labels_url, settings.blobs_root)
    jobs = BackgroundJobs(labels, open_queue(settings.jobs_url), engine.registry)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        # Beside the start, not before it: /healthz answers while the first mask is being made.
        engine.open()
        task = asyncio.create_task(warmup.run())
        yield
        # The server has let its requests end, or given up on them; what was accepted is finished.
        await task
        warmup.end()
        await to_thread.run_sync(engine.close)
        jobs.close()
        labels.close()

    # Its pages of documentation come from this server, not from a content delivery network.
    app = FastAPIOffline(
        title="TuneVLSeg Studio",
        version=version(health.DISTRIBUTION),
        description=DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        lifespan=lifespan,
    )
    threads = CapacityLimiter(settings.queue_length + settings.batch_rows + settings.workers)
    decoding = BoundedSemaphore(settings.workers)
    suggestions = Suggestions(engine)
    app.state.parts = Parts(engine, settings, warmup, threads, metrics, decoding, labels, jobs, suggestions)
    larger = {TAKES_ARCHIVES: settings.max_archive_bytes}
    app.add_middleware(BodyLimit, max_bytes=settings.max_upload_bytes, larger=larger)
    app.add_middleware(RequestLog, metrics=metrics, phrases=settings.log_phrases)
    install_problems(app)
    data = (label_uploads, labelled, label_queue, jobs_routes, decisions)
    for routes in (segment, images, registry, *data, health, metrics_route):
        app.include_router(routes.router)
    return app
