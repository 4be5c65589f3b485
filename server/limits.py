"""Refuse bodies over the limit, by what they say and by what they are."""

from __future__ import annotations

import re
from collections.abc import Mapping

import anyio
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.problem_kinds import TOO_LARGE
from server.problems import problem_response

# A client that is still sending does not read the answer; closing on it would lose the answer.
LINGER_SECONDS = 30.0


class BodyLimit:
    """ASGI middleware: no application behind it sees more of a body than is taken.

    Args:
        app: The application.
        max_bytes: Largest body taken, in bytes.
        larger: Addresses that take more, and how much: of several that fit the first counts.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int, larger: Mapping[re.Pattern[str], int] | None = None):
        self.app = app
        self.max_bytes = max_bytes
        self.larger = larger or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"]
        most = next((most for where, most in self.larger.items() if where.fullmatch(path)), self.max_bytes)
        fault = f"the upload is larger than the {most:,} bytes this service takes"
        headers = Headers(scope=scope)
        declared = headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > most:
            waiting = headers.get("expect", "").lower() == "100-continue"
            await self._refuse(fault, receive, send, drain=not waiting)
            return
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > most:
                if message.get("more_body", False):
                    await _drain(receive)
                raise HTTPException(TOO_LARGE.status, fault, {"Connection": "close"})
            return message

        await self.app(scope, counted, send)

    async def _refuse(self, fault: str, receive: Receive, send: Send, *, drain: bool) -> None:
        response = problem_response(TOO_LARGE, fault, headers={"Connection": "close"})
        head = {
            "type": "http.response.start",
            "status": response.status_code,
            "headers": response.raw_headers,
        }
        await send(head)
        await send({"type": "http.response.body", "body": bytes(response.body), "more_body": True})
        if drain:
            await _drain(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _drain(receive: Receive) -> None:
    """Read and drop what the client still sends, for a while."""
    with anyio.move_on_after(LINGER_SECONDS):
        while (await receive()).get("more_body", False):
            continue
