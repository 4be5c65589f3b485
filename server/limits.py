"""Refuse bodies over the limit, by what they say and by what they are."""

from __future__ import annotations

import anyio
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.problems import TOO_LARGE, problem_response

# A client that is still sending does not read the answer; closing on it would lose the answer.
LINGER_SECONDS = 30.0


class BodyLimit:
    """ASGI middleware: no application behind it sees more than ``max_bytes`` of a body.

    Args:
        app: The application.
        max_bytes: Largest body taken, in bytes.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int):
        self.app = app
        self.max_bytes = max_bytes
        self.fault = f"the upload is larger than the {max_bytes:,} bytes this service takes"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        declared = headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self.max_bytes:
            waiting = headers.get("expect", "").lower() == "100-continue"
            await self._refuse(receive, send, drain=not waiting)
            return
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self.max_bytes:
                if message.get("more_body", False):
                    await _drain(receive)
                raise HTTPException(TOO_LARGE.status, self.fault, {"Connection": "close"})
            return message

        await self.app(scope, counted, send)

    async def _refuse(self, receive: Receive, send: Send, *, drain: bool) -> None:
        response = problem_response(TOO_LARGE, self.fault, headers={"Connection": "close"})
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
