"""One request at a time, judged."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx

from models_store.errors import BadInputError
from server.load.mix import Shot
from server.load.outcomes import Outcome
from server.load.pictures import Pictures
from server.load.scrape import Samples, parse_metrics

WRONG, TIMEOUT, CONNECTION = "wrong answer", "timeout", "connection"
UNKNOWN_IMAGE = "unknown-image"


class LoadClient:
    """Sends requests to one server.

    Args:
        http: A client whose base URL is the server's.
        pictures: Images.
        by_id: Whether an image is uploaded once and named by its id from then on.
    """

    def __init__(self, http: httpx.AsyncClient, pictures: Pictures, *, by_id: bool = False):
        self.http = http
        self.pictures = pictures
        self.by_id = by_id
        self._ids: dict[int, asyncio.Task[str]] = {}

    async def datasets(self) -> list[str]:
        """Datasets that have a champion.

        Raises:
            BadInputError: The server does not answer as this product's does.
        """
        try:
            answer = await self.http.get("/datasets")
            answer.raise_for_status()
            return [entry["name"] for entry in answer.json() if entry["champion"] is not None]
        except (httpx.HTTPError, json.JSONDecodeError, KeyError, TypeError) as error:
            raise BadInputError(
                f"no TuneVLSeg server answers at {self.http.base_url}: {error or type(error).__name__}"
            ) from error

    async def metrics(self) -> Samples:
        """The server's metrics at this moment; empty where it has none."""
        try:
            answer = await self.http.get("/metrics", headers={"accept": "text/plain"})
            return parse_metrics(answer.text) if answer.status_code == 200 else {}
        except (httpx.HTTPError, ValueError):
            # A run's own figures stand without the server's.
            return {}

    def prepare(self, shot: Shot) -> bytes:
        """The image of a shot; read or drawn here, so that its cost is in no latency."""
        return b"" if self.by_id and shot.picture in self._ids else self.pictures.content(shot.picture)

    async def send(self, shot: Shot, content: bytes, due: float) -> Outcome:
        """Send a request and judge its answer.

        Args:
            shot: The request.
            content: Its image, as :meth:`prepare` gives it.
            due: When it should have been sent, by the event loop's clock.
        """
        failure: str | None
        cache: dict[str, str] = {}
        try:
            failure, cache = _judged(await self._post(shot, content), shot)
        except httpx.TimeoutException:
            failure = TIMEOUT
        except httpx.HTTPError:
            failure = CONNECTION
        except _RefusedError as error:
            failure = str(error)
        return Outcome(asyncio.get_running_loop().time() - due, failure, shot.repeated, cache)

    async def _post(self, shot: Shot, content: bytes) -> httpx.Response:
        fields: dict[str, Any] = {"prompt": list(shot.phrases)}
        if shot.reference is not None:
            fields["checkpoint" if {"/", "@"} & set(shot.reference) else "dataset"] = shot.reference
        if not self.by_id:
            return await self.http.post("/segment", data=fields, files={"image": ("image", content)})
        return await self._post_by_id(shot.picture, content, _plain(fields))

    async def _post_by_id(
        self, picture: int, content: bytes, fields: list[tuple[str, tuple[None, str]]]
    ) -> httpx.Response:
        # Multipart, as every request to this address is; a part without a file name is no file.
        answer = await self._with_id(await self._image_id(picture, content), fields)
        if _problem(answer).endswith(UNKNOWN_IMAGE):
            # The server has let it go meanwhile, as it may; who has the image sends it anew.
            self._ids.pop(picture, None)
            answer = await self._with_id(await self._image_id(picture, b""), fields)
        return answer

    async def _with_id(self, named: str, fields: list[tuple[str, tuple[None, str]]]) -> httpx.Response:
        return await self.http.post("/segment", files=[("image_id", (None, named)), *fields])

    async def _image_id(self, picture: int, content: bytes) -> str:
        """Id of an image; the first who asks uploads it, the others wait."""
        if picture not in self._ids:
            upload = self._upload(content or self.pictures.content(picture))
            self._ids[picture] = asyncio.create_task(upload)
        try:
            return await self._ids[picture]
        except (httpx.HTTPError, _RefusedError):
            self._ids.pop(picture, None)
            raise

    async def _upload(self, content: bytes) -> str:
        answer = await self.http.post("/images", files={"image": ("image", content)})
        if answer.is_error:
            raise _RefusedError(_problem(answer))
        return str(answer.json()["id"])


class _RefusedError(Exception):
    """An upload was refused; its text is the problem's type."""


def _plain(fields: dict[str, Any]) -> list[tuple[str, tuple[None, str]]]:
    pairs = ((name, value) for name, values in fields.items() for value in _several(values))
    return [(name, (None, value)) for name, value in pairs]


def _several(values: Any) -> list[str]:
    return values if isinstance(values, list) else [values]


def _problem(answer: httpx.Response) -> str:
    """Type of a refusal; the status where it is no problem document, and empty for none."""
    if answer.is_success:
        return ""
    try:
        return str(answer.json()["type"])
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
        return f"status {answer.status_code}"


def _judged(answer: httpx.Response, shot: Shot) -> tuple[str | None, dict[str, str]]:
    """What is wrong with an answer, None where nothing is; and what of it was found in caches."""
    if answer.status_code != 200:
        return _problem(answer), {}
    try:
        body = answer.json()
        phrases = [mask["prompt"] for mask in body["masks"]]
        used, dataset = body["versions"]["checkpoint"], body["versions"]["dataset"]
        version = None if used is None else used["version"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
        return WRONG, {}
    asked = shot.reference or ""
    wanted = asked.partition("/")[0].partition("@")[0] or None
    named = asked.partition("/")[2] or version
    right = phrases == list(shot.phrases) and (dataset, version) == (wanted, named)
    return (None, body.get("cache", {})) if right else (WRONG, {})
