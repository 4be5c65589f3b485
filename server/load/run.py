"""A whole run: look at the server, warm it up, load it, sum up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from models_store.errors import BadInputError
from server.load.client import LoadClient
from server.load.loops import Limit, closed_loop, open_loop
from server.load.mix import draw_shots
from server.load.outcomes import Report, make_report
from server.load.pictures import Pictures
from server.load.scrape import told_between

ZERO_SHOT = "zero-shot"


@dataclass(frozen=True)
class Way:
    """How requests follow each other.

    Attributes:
        clients: Of a closed loop; each waits for its answer.
        rate: Requests per second of an open loop; None means a closed one.
    """

    clients: int = 8
    rate: float | None = None

    def told(self) -> dict[str, float | str]:
        """As the report says it."""
        if self.rate is None:
            return {"loop": "closed", "clients": self.clients}
        return {"loop": "open", "rate": self.rate}


async def run_load(
    url: str,
    *,
    pictures: Pictures,
    way: Way,
    limit: Limit,
    references: Sequence[str] | None = None,
    phrases: Sequence[str],
    phrases_each: int = 1,
    repeat: float = 0.0,
    by_id: bool = False,
    warm_up: int = 0,
    timeout: float = 60.0,
    seed: int = 0,
) -> Report:
    """Load a server and report.

    Args:
        url: Where it is.
        pictures: Images to send.
        way: How requests follow each other.
        limit: When the run ends.
        references: Checkpoints; ``zero-shot`` is one. None means the champion of every dataset the
            server has, and zero-shot.
        phrases: Phrases to choose from.
        phrases_each: How many each request has.
        repeat: Share of requests with an image that was sent before.
        by_id: Whether images are uploaded once and named by their ids.
        warm_up: Requests that are sent first and not counted.
        timeout: Seconds after which a request is given up.
        seed: Of every choice.

    Raises:
        BadInputError: Nothing to send, or no such server.
    """
    if limit.requests is None and limit.seconds is None:
        raise BadInputError("a run without an end; give a number of requests or of seconds")
    # As many connections as requests are under way: a client that waits for one measures itself.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=timeout, limits=limits) as http:
        client = LoadClient(http, pictures, by_id=by_id)
        datasets = await client.datasets()
        chosen = [*datasets, ZERO_SHOT] if references is None else references
        shots = draw_shots(
            references=[None if name == ZERO_SHOT else name for name in chosen],
            phrases=phrases,
            phrases_each=phrases_each,
            repeat=repeat,
            pictures=pictures.count,
            seed=seed,
        )
        if warm_up:
            await closed_loop(client, shots, Limit(requests=warm_up), clients=way.clients)
        before = await client.metrics()
        if way.rate is None:
            outcomes, seconds = await closed_loop(client, shots, limit, clients=way.clients)
        else:
            outcomes, seconds = await open_loop(client, shots, limit, rate=way.rate, seed=seed)
        after = await client.metrics()
    told = way.told() | {"checkpoints": len(chosen), "phrases_each": phrases_each, "by_id": by_id}
    return make_report(outcomes, seconds, way=told, server=told_between(before, after) if after else {})
