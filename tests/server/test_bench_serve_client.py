"""How the load generator judges answers and keeps its pace."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from models_store.errors import BadInputError
from server.load.client import LoadClient
from server.load.loops import Limit, closed_loop, open_loop
from server.load.mix import Shot
from server.load.outcomes import Outcome
from server.load.pictures import SyntheticPictures

SHOT = Shot(0, ("liver",), "busi", False)


def answer(
    dataset: str | None = "busi", version: str = "v0001", prompts: tuple[str, ...] = ("liver",)
) -> dict[str, Any]:
    used = None if dataset is None else {"version": version}
    return {
        "masks": [{"prompt": prompt} for prompt in prompts],
        "versions": {"dataset": dataset, "checkpoint": used},
        "cache": {"image": "hit"},
    }


def with_client(
    handle: Callable[[httpx.Request], Any],
    use: Callable[[LoadClient], Awaitable[Any]],
    **options: Any,
) -> Any:
    async def run() -> Any:
        transport = httpx.MockTransport(handle)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as http:
            return await use(LoadClient(http, SyntheticPictures(32), **options))

    return asyncio.run(run())


def sent(handle: Callable[[httpx.Request], Any], shot: Shot = SHOT, **options: Any) -> Outcome:
    async def use(client: LoadClient) -> Outcome:
        now = asyncio.get_running_loop().time()
        return await client.send(shot, client.prepare(shot), now)

    outcome: Outcome = with_client(handle, use, **options)
    return outcome


def replying(body: Any, status: int = 200) -> Callable[[httpx.Request], httpx.Response]:
    return lambda _: httpx.Response(status, json=body)


class TestJudging:
    def test_a_right_answer(self) -> None:
        outcome = sent(replying(answer()))
        assert (outcome.failure, outcome.cache) == (None, {"image": "hit"})
        assert outcome.seconds > 0

    @pytest.mark.parametrize(
        ("reference", "body"),
        [
            ("busi", answer("kvasir")),
            ("busi", answer(None)),
            (None, answer("busi")),
            ("busi/v0002", answer(version="v0001")),
            ("busi", answer(prompts=("bone",))),
            ("busi", answer(prompts=())),
            ("busi", {"masks": []}),
            ("busi", []),
        ],
    )
    def test_an_answer_to_another_question_is_a_failure(self, reference: str | None, body: Any) -> None:
        assert sent(replying(body), Shot(0, ("liver",), reference, False)).failure == "wrong answer"

    @pytest.mark.parametrize(
        ("reference", "body"),
        [
            (None, answer(None)),
            ("busi@candidate", answer(version="v0007")),
            ("busi/v0002", answer(version="v0002")),
        ],
    )
    def test_every_form_of_reference(self, reference: str | None, body: Any) -> None:
        assert sent(replying(body), Shot(0, ("liver",), reference, False)).failure is None

    def test_refusals_by_their_type(self) -> None:
        assert sent(replying({"type": "/problems/queue-full"}, 503)).failure == "/problems/queue-full"
        assert sent(replying("a page", 502)).failure == "status 502"

    @pytest.mark.parametrize(
        ("error", "named"), [(httpx.ReadTimeout, "timeout"), (httpx.ConnectError, "connection")]
    )
    def test_what_the_network_does(self, error: type[httpx.TransportError], named: str) -> None:
        def broken(_: httpx.Request) -> httpx.Response:
            raise error("no")

        assert sent(broken).failure == named

    def test_a_server_of_another_kind(self) -> None:
        with pytest.raises(BadInputError, match="no TuneVLSeg server answers at http://server"):
            with_client(replying({"hello": 1}), lambda client: client.datasets())


class Uploads:
    """A server that keeps images, each for a number of requests."""

    def __init__(self, *, uses: int = 1000, refuse: int = 0):
        self.uploads, self.uses, self.refuse = 0, uses, refuse
        self.left: dict[str, int] = {}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/images":
            if self.refuse:
                self.refuse -= 1
                return httpx.Response(503, json={"type": "/problems/queue-full"})
            self.uploads += 1
            named = f"id{self.uploads}"
            self.left[named] = self.uses
            return httpx.Response(201, json={"id": named})
        known = [named for named in self.left if f"\r\n\r\n{named}\r\n".encode() in request.content]
        if not known or not self.left[known[0]]:
            return httpx.Response(404, json={"type": "/problems/unknown-image"})
        self.left[known[0]] -= 1
        return httpx.Response(200, json=answer())


class TestImageIds:
    def run(self, server: Uploads, count: int = 4) -> list[Outcome]:
        async def use(client: LoadClient) -> list[Outcome]:
            now = asyncio.get_running_loop().time
            return await asyncio.gather(
                *(client.send(SHOT, client.prepare(SHOT), now()) for _ in range(count))
            )

        outcomes: list[Outcome] = with_client(server, use, by_id=True)
        return outcomes

    def test_an_image_is_uploaded_once(self) -> None:
        server = Uploads()
        assert [outcome.failure for outcome in self.run(server)] == [None] * 4
        assert server.uploads == 1

    def test_one_that_was_let_go_is_sent_anew(self) -> None:
        server = Uploads(uses=1)
        assert [outcome.failure for outcome in self.run(server, 2)] == [None] * 2
        assert server.uploads == 2

    def test_a_refused_upload_fails_its_requests_only(self) -> None:
        server = Uploads(refuse=1)

        async def use(client: LoadClient) -> list[str | None]:
            now = asyncio.get_running_loop().time
            return [(await client.send(SHOT, client.prepare(SHOT), now())).failure for _ in range(2)]

        assert with_client(server, use, by_id=True) == ["/problems/queue-full", None]


class TestLoops:
    def test_clients_never_have_more_than_one_request_each_under_way(self) -> None:
        under_way, most = 0, 0

        async def handle(_: httpx.Request) -> httpx.Response:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            for _ in range(3):
                await asyncio.sleep(0)
            under_way -= 1
            return httpx.Response(200, json=answer())

        async def use(client: LoadClient) -> tuple[list[Outcome], float]:
            return await closed_loop(client, itertools.repeat(SHOT), Limit(requests=20), clients=3)

        outcomes, _ = with_client(handle, use)
        assert len(outcomes) == 20
        assert most == 3

    def test_an_open_loop_does_not_wait_for_answers(self) -> None:
        count = 6
        arrived, all_here = 0, asyncio.Event()

        async def handle(_: httpx.Request) -> httpx.Response:
            nonlocal arrived
            arrived += 1
            if arrived == count:
                all_here.set()
            # Nobody is answered before the last has asked; a closed loop would hang here.
            await asyncio.wait_for(all_here.wait(), 60)
            return httpx.Response(200, json=answer())

        async def use(client: LoadClient) -> tuple[list[Outcome], float]:
            return await open_loop(client, itertools.repeat(SHOT), Limit(requests=count), rate=500)

        outcomes, seconds = with_client(handle, use)
        assert [outcome.failure for outcome in outcomes] == [None] * count
        assert max(outcome.seconds for outcome in outcomes) <= seconds

    def test_a_run_of_no_time_sends_nothing(self) -> None:
        async def use(client: LoadClient) -> tuple[list[Outcome], float]:
            return await closed_loop(client, itertools.repeat(SHOT), Limit(seconds=0), clients=2)

        assert with_client(replying(answer()), use)[0] == []
