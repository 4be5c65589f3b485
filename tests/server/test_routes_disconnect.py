"""Work goes on while its client is there, and is told when it is not."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable

import anyio
import pytest
from anyio import CapacityLimiter, to_thread
from engine_parts import SECONDS
from fastapi import Request
from starlette.types import Message, Receive

from server.errors import CancelledError, QueueFullError
from server.routes.disconnect import run_for_client


def request(receive: Receive) -> Request:
    return Request({"type": "http", "method": "POST", "path": "/", "headers": []}, receive)


async def stays() -> Message:
    await anyio.sleep_forever()
    raise AssertionError("a client that stays sends nothing")


def leaves_after(started: threading.Event) -> Callable[[], Awaitable[Message]]:
    rest = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        await to_thread.run_sync(started.wait)
        return rest.pop() if rest else {"type": "http.disconnect"}

    return receive


def test_a_client_that_leaves_is_noticed() -> None:
    started = threading.Event()

    def work(gone: threading.Event) -> str:
        started.set()
        assert gone.wait(timeout=SECONDS)
        raise CancelledError("gone")

    async def main() -> None:
        limiter = CapacityLimiter(1)
        with pytest.raises(CancelledError, match="gone"):
            await run_for_client(request(leaves_after(started)), work, limiter=limiter)
        assert limiter.borrowed_tokens == 0

    anyio.run(main)


def test_a_client_that_stays_gets_the_result() -> None:
    def work(gone: threading.Event) -> tuple[int, bool]:
        return 7, gone.is_set()

    async def main() -> tuple[int, bool]:
        return await run_for_client(request(stays), work, limiter=CapacityLimiter(1))

    assert anyio.run(main) == (7, False)


def test_without_a_thread_it_is_refused_at_once() -> None:
    def work(_: threading.Event) -> None:
        raise AssertionError("there is no thread for it")

    async def main() -> None:
        limiter = CapacityLimiter(1)
        async with limiter:
            with pytest.raises(QueueFullError, match="1 requests are at work") as caught:
                await run_for_client(request(stays), work, limiter=limiter)
        assert caught.value.retry_after == 1

    anyio.run(main)
