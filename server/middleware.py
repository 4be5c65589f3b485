"""Around every request: its id, its line in the log, its count."""

from __future__ import annotations

import logging
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.logs import FACTS
from server.metrics import Metrics
from server.problem_kinds import INTERNAL
from server.problems import problem_response
from server.request_notes import Notes, choose_request_id, taking_notes

HEADER = "X-Request-ID"
# Asked every few seconds by machines; they are counted, and logged where they fail or on request.
PROBES = ("/healthz", "/readyz", "/metrics")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
OTHER = "other"

requests = logging.getLogger("server.requests")
errors = logging.getLogger("server.errors")


class RequestLog:
    """ASGI middleware, the outermost: names, times, counts and logs every request.

    An error that nothing else answers is logged with its traceback and answered here, so that
    the answer carries the id by which the log is searched.

    Args:
        app: The application.
        metrics: What counts.
        phrases: Whether phrases are written into the log.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics, phrases: bool = False):
        self.app = app
        self.metrics = metrics
        self.phrases = phrases

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        notes = Notes(choose_request_id(Headers(scope=scope).get(HEADER)), self.phrases)
        start = time.perf_counter()
        status: int | None = None

        async def named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = notes.request_id
            await send(message)

        with taking_notes(notes):
            try:
                await self.app(scope, receive, named)
            except Exception:
                errors.exception("unexpected error")
                if status is not None:
                    raise
                response = problem_response(
                    INTERNAL, "The server failed on this request; its log says why under the request's id."
                )
                await response(scope, receive, named)
            finally:
                self._end(scope, notes, status, time.perf_counter() - start)

    def _end(self, scope: Scope, notes: Notes, status: int | None, seconds: float) -> None:
        method = scope["method"] if scope["method"] in METHODS else OTHER
        # The pattern, never the address: an address may hold an image's secret id or anything else.
        route = getattr(scope.get("route"), "path", OTHER)
        self.metrics.request(method, route, status, seconds, problem=notes.facts.get("problem"))
        facts = {"method": method, "route": route, "status": status, "duration_ms": round(seconds * 1000, 2)}
        level = logging.INFO
        if status is None or status >= 500:
            level = logging.ERROR if status == INTERNAL.status else logging.WARNING
        elif route in PROBES:
            level = logging.DEBUG
        requests.log(level, "request", extra={FACTS: facts | notes.facts})
