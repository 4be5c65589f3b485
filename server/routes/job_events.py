"""Events of a job as a stream: read from the database, where every process of the service writes them."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator

from anyio import to_thread
from sse_starlette import ServerSentEvent

from trainer.jobs.records import Jobs
from trainer.jobs.states import JobEvent
from trainer.labels.errors import StoreBusyError

LOOK_SECONDS = 0.3
BUSY_SECONDS = 2.0
logger = logging.getLogger(__name__)


async def followed(jobs: Jobs, job: str, after: int) -> AsyncIterator[ServerSentEvent]:
    """A job's events after one of them, until it has ended and all were told.

    A database that is busy for a while ends no stream.
    """

    def look() -> tuple[bool, list[JobEvent]]:
        # The state first: once it is an end, the events read after it are all there are.
        ended = jobs.get(job).state.ended
        return ended, jobs.events(job, after)

    while True:
        try:
            ended, events = await to_thread.run_sync(look)
        except StoreBusyError as error:
            logger.warning("events of job %s: %s", job, error)
            await asyncio.sleep(BUSY_SECONDS)
            continue
        for event in events:
            after = event.id
            content = {"at": event.at.isoformat(), **event.data}
            yield ServerSentEvent(json.dumps(content), event=event.kind, id=str(event.id))
        if ended and not events:
            return
        if not events:
            await asyncio.sleep(LOOK_SECONDS)
