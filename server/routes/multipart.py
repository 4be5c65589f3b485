"""Routes whose body is a form with files."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from server import problems

MULTIPART = "multipart/form-data"


class MultipartRoute(APIRoute):
    """A route that says so when the body is not a form with files."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def checked(request: Request) -> Response:
            sent = request.headers.get("content-type", "")
            if sent.partition(";")[0].strip().lower() != MULTIPART:
                raise HTTPException(
                    problems.UNSUPPORTED_TYPE.status,
                    f"the content type is {sent[:100] or 'missing'!r}; {MULTIPART} with the fields image and "
                    "prompt is accepted",
                )
            return await handle(request)

        return checked
