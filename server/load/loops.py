"""How requests follow each other."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass

from server.load.client import LoadClient
from server.load.mix import Shot
from server.load.outcomes import Outcome


@dataclass(frozen=True)
class Limit:
    """When a run ends: after so many requests, or when no more are sent after so many seconds."""

    requests: int | None = None
    seconds: float | None = None

    def of(self, shots: Iterator[Shot]) -> Iterator[Shot]:
        """As many of the shots as may be sent by their number."""
        return itertools.islice(shots, self.requests)


async def closed_loop(
    client: LoadClient, shots: Iterator[Shot], limit: Limit, *, clients: int
) -> tuple[list[Outcome], float]:
    """Clients who each send a request when the last one is answered.

    Returns:
        What became of each request, and the seconds from the first to the last.
    """
    loop = asyncio.get_running_loop()
    outcomes: list[Outcome] = []
    start = loop.time()
    allowed = limit.of(shots)

    async def one() -> None:
        for shot in allowed:
            if limit.seconds is not None and loop.time() - start >= limit.seconds:
                return
            content = client.prepare(shot)
            outcomes.append(await client.send(shot, content, loop.time()))

    await asyncio.gather(*(one() for _ in range(clients)))
    return outcomes, loop.time() - start


async def open_loop(
    client: LoadClient, shots: Iterator[Shot], limit: Limit, *, rate: float, seed: int = 0
) -> tuple[list[Outcome], float]:
    """Requests at times that do not depend on the answers, as of many independent people.

    A latency counts from the time a request was due: a server that stalls is charged for all who
    would have asked meanwhile.

    Args:
        client: Sends them.
        shots: What is sent.
        limit: When it ends.
        rate: Requests per second on average; the gaps are those of a Poisson process.
        seed: Of the gaps.

    Returns:
        What became of each request, and the seconds from the first to the last.
    """
    loop = asyncio.get_running_loop()
    draw = random.Random(seed)
    start = due = loop.time()
    tasks: list[asyncio.Task[Outcome]] = []
    for shot in limit.of(shots):
        if limit.seconds is not None and due - start >= limit.seconds:
            break
        content = client.prepare(shot)
        await asyncio.sleep(max(due - loop.time(), 0.0))
        tasks.append(asyncio.create_task(client.send(shot, content, due)))
        due += draw.expovariate(rate)
    outcomes = list(await asyncio.gather(*tasks))
    return outcomes, loop.time() - start
