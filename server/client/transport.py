"""Requests to one server, and what their failures mean."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator
from typing import Any, TypeVar

import httpx
from pydantic import TypeAdapter, ValidationError

from server.client.errors import NoAnswerError, TimedOutError, UnexpectedAnswerError, problem_of

T = TypeVar("T")


class Transport:
    """Sends requests; safe to share between threads.

    Args:
        url: Where the server is, such as ``http://127.0.0.1:8080``.
        client: The HTTP client to use instead of a new one; it is not closed.
    """

    def __init__(self, url: str, client: httpx.Client | None = None):
        self._owned = client is None
        # A proxy that the environment names cannot reach this machine's loopback.
        self._client = client or httpx.Client(base_url=url, trust_env=not is_loopback(httpx.URL(url).host))

    def close(self) -> None:
        """End connections."""
        if self._owned:
            self._client.close()

    def send(self, method: str, path: str, *, timeout: float, **request: Any) -> httpx.Response:
        """An answer of 2xx.

        Raises:
            TimedOutError, NoAnswerError: None came.
            ProblemError: The service refused.
        """
        try:
            response = self._client.request(method, path, timeout=timeout, **request)
        except httpx.TimeoutException as error:
            raise TimedOutError(f"no answer within {timeout:.0f} seconds") from error
        except httpx.HTTPError as error:
            raise NoAnswerError(f"the service cannot be reached: {error}") from error
        if response.is_error:
            raise problem_of(response)
        return response

    def lines(self, method: str, path: str, *, timeout: float, **request: Any) -> Iterator[dict[str, Any]]:
        """Lines of JSON as they come.

        Raises:
            ClientError: See :meth:`send`.
        """
        try:
            with self._client.stream(method, path, timeout=timeout, **request) as response:
                if response.is_error:
                    response.read()
                    raise problem_of(response)
                for line in response.iter_lines():
                    yield json.loads(line)
        except httpx.TimeoutException as error:
            raise TimedOutError(f"no answer within {timeout:.0f} seconds") from error
        except httpx.HTTPError as error:
            raise NoAnswerError(f"the connection broke: {error}") from error
        except ValueError as error:
            raise UnexpectedAnswerError(f"{path} did not answer with lines of JSON", status=200) from error

    def text_lines(self, path: str, *, headers: dict[str, str], timeout: float) -> Iterator[str]:
        """The lines of an answer that comes bit by bit; none of one without content.

        Args:
            path: Where.
            headers: Sent along.
            timeout: Seconds without a sign of life.

        Raises:
            TimedOutError, NoAnswerError: None came, or it broke off.
            ProblemError: The service refused.
        """
        try:
            with self._client.stream("GET", path, headers=headers, timeout=timeout) as response:
                if response.is_error:
                    response.read()
                    raise problem_of(response)
                yield from response.iter_lines()
        except httpx.TimeoutException as error:
            raise TimedOutError(f"no sign of life within {timeout:.0f} seconds") from error
        except httpx.HTTPError as error:
            raise NoAnswerError(f"the service cannot be reached: {error}") from error

    def read(self, answer: TypeAdapter[T], method: str, path: str, *, timeout: float, **request: Any) -> T:
        """The typed content of an answer of 2xx.

        Raises:
            UnexpectedAnswerError: It is not what the API answers with.
            ClientError: See :meth:`send`.
        """
        return parsed(answer, self.send(method, path, timeout=timeout, **request), path)


def parsed(answer: TypeAdapter[T], response: httpx.Response, path: str) -> T:
    """The typed content of a response; raises UnexpectedAnswerError if it is another."""
    try:
        return answer.validate_json(response.content)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"])
        what = f"{where}: {fault['msg']}" if where else fault["msg"]
        raise UnexpectedAnswerError(
            f"{path} did not answer with JSON of this service ({what}). Is this address a TuneVLSeg server?",
            status=response.status_code,
        ) from error


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
