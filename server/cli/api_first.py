"""Keep the page, which is mounted at ``/``, from answering for the API."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send


class ApiFirst:
    """Refuse a wrong method on an address of the API, which the router would pass on to the page.

    Args:
        page: The mounted application.
        routes: The API's routes.
    """

    def __init__(self, page: ASGIApp, routes: Sequence[BaseRoute]):
        self.page = page
        self.routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and any(
            route.matches(dict(scope))[0] is Match.PARTIAL for route in self.routes
        ):
            raise HTTPException(405)
        await self.page(scope, receive, send)
