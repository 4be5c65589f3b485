"""What routes are given: the parts :func:`server.app.create_app` was built of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, cast

from anyio import CapacityLimiter
from fastapi import Depends, Request

from server.engine import Engine
from server.metrics import Metrics
from server.settings import Settings
from server.warmup import WarmUp


@dataclass(frozen=True)
class Parts:
    """Parts of one application."""

    engine: Engine
    settings: Settings
    warmup: WarmUp
    limiter: CapacityLimiter
    metrics: Metrics


def _parts(request: Request) -> Parts:
    return cast(Parts, request.app.state.parts)


PartsOf = Annotated[Parts, Depends(_parts)]
