"""Routes whose body is a form with files."""

from __future__ import annotations

import errno
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from server import problem_kinds as kinds
from trainer.labels.errors import StoreFullError

MULTIPART = "multipart/form-data"
FULL = (errno.ENOSPC, errno.EDQUOT)


class MultipartRoute(APIRoute):
    """A route that says so when the body is not a form with files."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def checked(request: Request) -> Response:
            sent = request.headers.get("content-type", "")
            if sent.partition(";")[0].strip().lower() != MULTIPART:
                raise HTTPException(
                    kinds.UNSUPPORTED_TYPE.status,
                    f"the content type is {sent[:100] or 'missing'!r}; {MULTIPART} is accepted, with "
                    "the fields that /docs tells",
                )
            try:
                return await handle(request)
            except HTTPException as error:
                # Files are parsed onto the disk; whatever fails there, FastAPI calls the client's fault.
                if isinstance(error.__cause__, OSError) and error.__cause__.errno in FULL:
                    raise StoreFullError("the disk that takes uploads is full; nothing was kept") from error
                raise

        return checked
