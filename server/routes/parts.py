"""What routes are given: the parts :func:`server.app.create_app` was built of."""

from __future__ import annotations

from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import Annotated, cast

from anyio import CapacityLimiter
from fastapi import Depends, Request

from server.engine import Engine
from server.jobs import BackgroundJobs
from server.labels import Labels
from server.metrics import Metrics
from server.settings import Settings
from server.suggestions import Suggestions
from server.warmup import WarmUp


@dataclass(frozen=True)
class Parts:
    """Parts of one application.

    Attributes:
        limiter: Threads for requests. There are enough for all that the engine lets wait: where a
            request waits is the engine's queue, which takes turns and refuses.
        labels: Labelled data.
        jobs: What workers do, and what was decided on it.
        decoding: Held while files are decoded or answers are drawn, which needs memory and processor.
    """

    engine: Engine
    settings: Settings
    warmup: WarmUp
    limiter: CapacityLimiter
    metrics: Metrics
    decoding: BoundedSemaphore
    labels: Labels
    jobs: BackgroundJobs
    suggestions: Suggestions


def _parts(request: Request) -> Parts:
    return cast(Parts, request.app.state.parts)


PartsOf = Annotated[Parts, Depends(_parts)]
