"""What can go wrong between a client and the service."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import httpx


class ClientError(Exception):
    """Base of everything the client raises for a request."""


class NoAnswerError(ClientError):
    """The service could not be reached, or the connection broke."""


class TimedOutError(NoAnswerError):
    """No answer came in time."""


class UnexpectedAnswerError(ClientError):
    """An answer that this service does not give; another one may be at the address.

    Args:
        message: What was wrong with it.
        status: Its HTTP status.
    """

    def __init__(self, message: str, *, status: int):
        super().__init__(message)
        self.status = status


class ProblemError(ClientError):
    """The service refused; carries the problem document (RFC 9457).

    Args:
        problem: The document; where the answer had none, one made of its status.
        retry_after: Seconds after which to try again, where the service says so.

    Attributes:
        kind: Last part of the problem's type, such as ``unknown-dataset``: stable, to branch on.
        title, detail, status: Members of the document.
    """

    def __init__(self, problem: dict[str, Any], *, retry_after: float | None = None):
        self.problem = problem
        self.retry_after = retry_after
        self.title = str(problem["title"])
        self.detail = str(problem["detail"])
        self.status = int(problem["status"])
        self.kind = str(problem.get("type", "about:blank")).rpartition("/")[2]
        super().__init__(f"{self.title}: {self.detail}")


class RefusedError(ProblemError):
    """The request was at fault (4xx)."""


class NotFoundError(RefusedError):
    """A dataset, checkpoint, image id or address that is not there (404)."""


class ServerFaultError(ProblemError):
    """The service was at fault (5xx)."""


class BusyError(ServerFaultError):
    """The service cannot answer now, but may later (503, 504); see ``retry_after``."""


def problem_of(response: httpx.Response) -> ProblemError:
    """The error that a response of 4xx or 5xx stands for."""
    try:
        document = response.json()
    except ValueError:
        document = None
    problem: dict[str, Any] = dict(document) if isinstance(document, dict) else {}
    title, detail = problem.get("title"), problem.get("detail")
    if not isinstance(detail, str) or not detail:
        problem["detail"] = f"The service answered with status {response.status_code}."
    if not isinstance(title, str) or not title:
        problem["title"] = response.reason_phrase or "Request refused"
    problem["status"] = response.status_code
    return _class_of(response.status_code)(problem, retry_after=_seconds(response.headers.get("retry-after")))


def problem_of_document(document: dict[str, Any]) -> ProblemError:
    """The error that a problem document stands for, where its status was no response's."""
    return _class_of(int(document["status"]))(document)


def _class_of(status: int) -> type[ProblemError]:
    if status == HTTPStatus.NOT_FOUND:
        return NotFoundError
    if status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT):
        return BusyError
    return ServerFaultError if status >= HTTPStatus.INTERNAL_SERVER_ERROR else RefusedError


def _seconds(header: str | None) -> float | None:
    return float(header) if header is not None and header.strip().isdecimal() else None
