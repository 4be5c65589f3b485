"""The REST API as the page sees it: five calls, and one kind of error."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

# A first request after start may wait for the model, and a large image takes seconds on a CPU.
SEGMENT_TIMEOUT_S = 180.0
LIST_TIMEOUT_S = 10.0


class ApiError(Exception):
    """What the API answered instead of a result.

    Attributes:
        title: Short name of the fault.
        detail: What was wrong and what is accepted, as the API said it.
        status: HTTP status, or None where no answer came.
    """

    def __init__(self, title: str, detail: str, status: int | None = None) -> None:
        super().__init__(f"{title}: {detail}")
        self.title, self.detail, self.status = title, detail, status


@dataclass(frozen=True)
class Readiness:
    """Whether the service can segment now, and a sentence that says so."""

    ready: bool
    text: str


class StudioApi:
    """A client of one TuneVLSeg server; safe to share between threads."""

    def __init__(self, api_url: str) -> None:
        """Args:
        api_url: Where the API is, such as ``http://127.0.0.1:8080``.
        """
        # A proxy that the environment names cannot reach this machine's loopback.
        self._client = httpx.Client(base_url=api_url, trust_env=not _is_loopback(httpx.URL(api_url).host))

    def readiness(self) -> Readiness:
        """Ask ``/readyz`` and name the base model; never raises."""
        try:
            self._json("GET", "/readyz")
            base = self._json("GET", "/capabilities").get("base", {})
        except ApiError as error:
            if error.status == httpx.codes.SERVICE_UNAVAILABLE:
                return Readiness(False, f"Not ready yet: {error.detail}")
            return Readiness(False, error.title)
        return Readiness(True, f"Ready · {base.get('name', 'model loaded')}")

    def datasets(self) -> list[dict[str, Any]]:
        """Datasets that have checkpoints."""
        return list(self._json("GET", "/datasets"))

    def checkpoints(self) -> list[dict[str, Any]]:
        """Checkpoints of every dataset, usable or not."""
        return list(self._json("GET", "/checkpoints"))

    def segment(self, *, path: Path, name: str, phrases: list[str], model: dict[str, str]) -> dict[str, Any]:
        """Segment an image file, asking for what the viewer draws from.

        Args:
            path: The file as it was uploaded.
            name: The name to send it under.
            phrases: What to look for.
            model: ``{}`` for zero-shot, ``{"dataset": ...}`` or ``{"checkpoint": ...}``.

        Returns:
            The JSON answer with a probability PNG in every mask and ``image.preview_png``.

        Raises:
            ApiError: The API refused, or could not be reached.
            OSError: The file is gone.
        """
        with path.open("rb") as file:
            answer: dict[str, Any] = self._json(
                "POST",
                "/segment",
                files={"image": (name, file)},
                data={"prompt": phrases, "output": "json", "probabilities": "true", **model},
                timeout=SEGMENT_TIMEOUT_S,
            )
        return answer

    def _json(self, method: str, path: str, *, timeout: float = LIST_TIMEOUT_S, **request: Any) -> Any:
        try:
            response = self._client.request(method, path, timeout=timeout, **request)
        except httpx.TimeoutException as error:
            raise ApiError(
                "The service took too long", f"No answer within {timeout:.0f} seconds. Please try again."
            ) from error
        except httpx.HTTPError as error:
            raise ApiError(
                "The service cannot be reached", "Is it running? Please try again in a moment."
            ) from error
        if response.is_error:
            raise _problem(response)
        try:
            return response.json()
        except ValueError as error:
            raise ApiError(
                "Unexpected answer",
                f"{path} did not answer with JSON. Is this address a TuneVLSeg server?",
                response.status_code,
            ) from error


def _problem(response: httpx.Response) -> ApiError:
    """The RFC 9457 problem document of a response, or a plain sentence where it has none."""
    try:
        document = response.json()
    except ValueError:
        document = {}
    if not isinstance(document, dict):
        document = {}
    detail = document.get("detail")
    if not isinstance(detail, str) or not detail:
        detail = f"The service answered with status {response.status_code}."
    return ApiError(
        str(document.get("title") or response.reason_phrase or "Request refused"),
        # On the page it stands as a sentence of its own.
        detail[:1].upper() + detail[1:],
        response.status_code,
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
