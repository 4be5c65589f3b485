"""What a page holds open must not hold up the end of its server."""

from __future__ import annotations

from collections.abc import Callable

import anyio
from anyio import CancelScope
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOK_SECONDS = 0.25


class EndingStreams:
    """Ends the page's open answers some time after the server was asked to end.

    A browser holds a stream open for as long as its tab is. The server waits for open answers when it ends,
    since those of the API are masks that it accepted to make.

    Args:
        page: The mounted application.
        ending: Whether the server was asked to end.
        seconds: How long answers of the page may go on from then.
    """

    def __init__(self, page: ASGIApp, *, ending: Callable[[], bool], seconds: float):
        self.page = page
        self.ending = ending
        self.seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.page(scope, receive, send)
            return
        # An answer of unknown length can be ended in good form; any other is cut off.
        open_end = False
        failed: Exception | None = None

        async def watched(message: Message) -> None:
            nonlocal open_end
            if message["type"] == "http.response.start":
                open_end = not any(name.lower() == b"content-length" for name, _ in message["headers"])
            elif not message.get("more_body", False):
                open_end = False
            await send(message)

        async with anyio.create_task_group() as group:
            group.start_soon(self._end, group.cancel_scope)
            try:
                await self.page(scope, receive, watched)
            except Exception as error:
                # Raised behind the group, which would wrap it.
                failed = error
            group.cancel_scope.cancel()
        if failed is not None:
            raise failed
        if open_end:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _end(self, scope: CancelScope) -> None:
        while not self.ending():
            await anyio.sleep(LOOK_SECONDS)
        await anyio.sleep(self.seconds)
        scope.cancel()
