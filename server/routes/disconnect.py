"""Work for a client who may go away meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import TypeVar

import anyio
from anyio import CapacityLimiter, to_thread
from fastapi import Request

from server.errors import QueueFullError

T = TypeVar("T")


async def run_for_client(request: Request, work: Callable[[Event], T], *, limiter: CapacityLimiter) -> T:
    """Run blocking work in a thread while watching whether its client is still there.

    Args:
        request: Its body must have been read.
        work: Given an event that is set when the client goes away, for
            ``Engine.segment(..., cancelled=event)``.
        limiter: Threads for such work. They are as many as the engine's queue takes, so a request
            for which there is none is refused at once instead of waiting outside the queue.

    Raises:
        QueueFullError: No thread is free.
    """
    if limiter.available_tokens <= 0:
        raise QueueFullError(
            f"{limiter.borrowed_tokens} requests are at work; try again later", retry_after=1
        )
    gone = Event()
    failed: Exception | None = None
    done: list[T] = []
    async with anyio.create_task_group() as group:
        group.start_soon(_watch, request, gone)
        try:
            done.append(await to_thread.run_sync(work, gone, limiter=limiter))
        except Exception as error:
            # Raised behind the group, which would wrap it.
            failed = error
        group.cancel_scope.cancel()
    if failed is not None:
        raise failed
    return done[0]


async def _watch(request: Request, gone: Event) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        continue
    gone.set()
