"""Streams that a page holds open end with the server; other answers are left alone."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator

import anyio
import pytest
from engine_parts import SECONDS
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from server.cli.page_streams import EndingStreams


class Page:
    """A page with a stream that never ends by itself, behind a server that may be asked to end."""

    def __init__(self) -> None:
        self.asked, self.left = threading.Event(), threading.Event()
        routes = [Route("/", self.plain), Route("/stream", self.stream), Route("/fault", self.fault)]
        self.app = EndingStreams(Starlette(routes=routes), ending=self.asked.is_set, seconds=0.1)

    async def plain(self, _: Request) -> PlainTextResponse:
        return PlainTextResponse("page")

    async def fault(self, _: Request) -> PlainTextResponse:
        raise LookupError("a fault of the page")

    async def stream(self, _: Request) -> StreamingResponse:
        async def beats() -> AsyncIterator[str]:
            try:
                yield "first"
                self.asked.set()
                await anyio.sleep(SECONDS)
                yield "last"
            finally:
                self.left.set()

        return StreamingResponse(beats())


@pytest.fixture
def page() -> Page:
    return Page()


def test_an_open_stream_ends_in_good_form(page: Page) -> None:
    answer = TestClient(page.app).get("/stream")
    assert (answer.status_code, answer.text) == (200, "first")
    assert page.left.is_set()


def test_answers_are_passed_on(page: Page) -> None:
    assert TestClient(page.app).get("/").text == "page"


def test_faults_are_raised_as_they_are(page: Page) -> None:
    with pytest.raises(LookupError, match="a fault of the page"):
        TestClient(page.app).get("/fault")
