"""The REST API as the page sees it: four calls, and one kind of error, in sentences."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server.client import (
    Client,
    ClientError,
    NoAnswerError,
    ProblemError,
    TimedOutError,
    UnexpectedAnswerError,
    Upload,
)


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
    """The calls of the page to one TuneVLSeg server; safe to share between threads."""

    def __init__(self, api_url: str) -> None:
        """Args:
        api_url: Where the API is, such as ``http://127.0.0.1:8080``.
        """
        self._client = Client(api_url)

    def readiness(self) -> Readiness:
        """Ask whether the service is ready and name the base model; never raises."""
        try:
            with _sentences():
                said = self._client.readiness()
                if not said.ready:
                    return Readiness(False, f"Not ready yet: {_sentence(said.detail)}")
                base = self._client.capabilities().base
        except ApiError as error:
            return Readiness(False, error.title)
        return Readiness(True, f"Ready · {base.get('name', 'model loaded')}")

    def datasets(self) -> list[dict[str, Any]]:
        """Datasets that have checkpoints."""
        with _sentences():
            return [each.model_dump(mode="json") for each in self._client.datasets()]

    def checkpoints(self) -> list[dict[str, Any]]:
        """Checkpoints of every dataset, usable or not."""
        with _sentences():
            return [each.model_dump(mode="json") for each in self._client.checkpoints()]

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
            ApiError: The API refused, or could not be reached, or the file holds several images.
            OSError: The file is gone.
        """
        with _sentences():
            answer = self._client.segment(
                Upload(path, name),
                phrases,
                dataset=model.get("dataset"),
                checkpoint=model.get("checkpoint"),
                probabilities=True,
            )
        if len(answer.images) != 1:
            raise ApiError(
                "Several images in one file",
                f"The file holds {len(answer.images)} images or frames, and this page shows one. "
                "The REST API and the command line segment them all.",
            )
        made = answer.model_dump(mode="json", exclude={"images"})
        return answer.images[0].model_dump(mode="json", include={"image", "masks"}) | made


@contextmanager
def _sentences() -> Iterator[None]:
    """Turn the client's errors into what a person reads."""
    try:
        yield
    except ProblemError as error:
        # On the page the detail stands as a sentence of its own.
        raise ApiError(error.title, _sentence(error.detail), error.status) from error
    except TimedOutError as error:
        raise ApiError("The service took too long", f"{_sentence(str(error))}. Please try again.") from error
    except NoAnswerError as error:
        raise ApiError(
            "The service cannot be reached", "Is it running? Please try again in a moment."
        ) from error
    except UnexpectedAnswerError as error:
        raise ApiError("Unexpected answer", _sentence(str(error)), error.status) from error
    except ClientError as error:
        raise ApiError("Request failed", _sentence(str(error))) from error


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
