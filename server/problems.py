"""Problem documents (RFC 9457): how every refusal leaves the server.

The type of a problem is a stable address; a client may branch on it, and ``GET`` of it on
this server says what it means.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from models_store import errors as store
from server import errors
from server.request_notes import current_request_id, note
from trainer.labels import errors as labels

MEDIA_TYPE = "application/problem+json"
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ProblemKind:
    """One kind of problem.

    Attributes:
        slug: Last part of its type address.
        status: HTTP status it leaves with.
        title: Short and the same for every occurrence.
        meaning: What a developer who looks up the type reads.
    """

    slug: str
    status: int
    title: str
    meaning: str

    @property
    def type(self) -> str:
        """Its address, relative to the server; ``about:blank`` means no more than the status."""
        return f"/problems/{self.slug}" if self.slug else "about:blank"


class Problem(BaseModel):
    """A problem document; further members may follow, ``request_id`` among them."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str


UNKNOWN_DATASET = ProblemKind(
    "unknown-dataset", 404, "Unknown dataset", "No dataset of that name has a checkpoint in the registry."
)
NO_CHAMPION = ProblemKind(
    "no-champion",
    404,
    "No champion",
    "The dataset has versions, but none of them is its champion. Name a version, or promote one.",
)
UNKNOWN_NAME = ProblemKind(
    "unknown-name", 404, "Unknown name", "A version, alias or base model of that name does not exist."
)
MISMATCH = ProblemKind(
    "mismatch",
    409,
    "Does not belong together",
    "Two things do not fit, such as a checkpoint and a base model it was not made for.",
)
DAMAGED = ProblemKind(
    "damaged",
    503,
    "Damaged files",
    "Files on the server are missing or do not match their recorded digests. Use another version.",
)
UNKNOWN_LABELS = ProblemKind(
    "unknown-labels",
    404,
    "Unknown labelled data",
    "A labelled dataset, image, annotation, revision or job of that name or number does not exist.",
)
CONFLICT = ProblemKind(
    "conflict",
    409,
    "Conflict",
    "What was asked for does not go with what is there; `detail` says why.",
)
STORE_BUSY = ProblemKind(
    "store-busy",
    503,
    "Database busy",
    "The database is locked or away. Nothing was written; try again after `Retry-After` seconds.",
)
STORE_FULL = ProblemKind("store-full", 507, "Disk full", "There is no room left. Nothing was written.")
UNKNOWN_IMAGE = ProblemKind(
    "unknown-image",
    404,
    "Unknown image",
    "No image is kept under that id. Ids are forgotten after a while: put the image again.",
)
UNREADABLE_IMAGE = ProblemKind(
    "unreadable-image",
    422,
    "Unreadable image",
    "The upload is not an image this service reads, or is damaged.",
)
IMAGE_TOO_LARGE = ProblemKind(
    "image-too-large", 422, "Image too large", "The image has more pixels than this service takes."
)
BAD_PROMPT = ProblemKind(
    "bad-prompt", 422, "Unacceptable prompt", "A phrase is empty or too long, or there are too many."
)
UNMAPPED_LABEL = ProblemKind(
    "unmapped-label",
    422,
    "Label without a code",
    "The answer asked for needs a SNOMED CT code for every label, and this one has none; `detail` lists "
    "the labels that have. No code is ever guessed.",
)
BAD_INPUT = ProblemKind("bad-input", 422, "Unacceptable input", "A value is outside what is accepted.")
INVALID_REQUEST = ProblemKind(
    "invalid-request",
    422,
    "Invalid request",
    "Fields of the request are missing or unacceptable; the member `errors` lists them.",
)
QUEUE_FULL = ProblemKind(
    "queue-full",
    503,
    "Too many requests wait",
    "The service has as much to do as it takes. Try again after the seconds that `Retry-After` says.",
)
SHUTTING_DOWN = ProblemKind(
    "shutting-down", 503, "Shutting down", "The service finishes what it has accepted and takes nothing new."
)
DEADLINE = ProblemKind(
    "deadline", 504, "Out of time", "The masks were not made within the time a request has. Try again later."
)
CANCELLED = ProblemKind(
    "cancelled", 499, "Client went away", "The connection was closed before the answer was made."
)
NOT_FOUND = ProblemKind("not-found", 404, "Not found", "There is nothing at this address.")
METHOD_NOT_ALLOWED = ProblemKind(
    "method-not-allowed", 405, "Method not allowed", "The address exists, but not for this method."
)
NOT_ACCEPTABLE = ProblemKind(
    "not-acceptable",
    406,
    "Not acceptable",
    "No media type that the `Accept` header names can be given; name an `output` in the form instead.",
)
TOO_LARGE = ProblemKind(
    "too-large", 413, "Upload too large", "The request's body is larger than this service takes."
)
UNSUPPORTED_TYPE = ProblemKind(
    "unsupported-type", 415, "Unsupported content type", "The request's content type is not the one expected."
)
BAD_REQUEST = ProblemKind("bad-request", 400, "Bad request", "The request could not be understood.")
INTERNAL = ProblemKind("internal", 500, "Internal error", "The server failed; its log says why.")

KINDS = {
    kind.slug: kind
    for kind in (
        UNKNOWN_DATASET,
        NO_CHAMPION,
        UNKNOWN_NAME,
        MISMATCH,
        DAMAGED,
        QUEUE_FULL,
        SHUTTING_DOWN,
        DEADLINE,
        CANCELLED,
        UNKNOWN_LABELS,
        CONFLICT,
        STORE_BUSY,
        STORE_FULL,
        UNKNOWN_IMAGE,
        UNREADABLE_IMAGE,
        IMAGE_TOO_LARGE,
        BAD_PROMPT,
        UNMAPPED_LABEL,
        BAD_INPUT,
        INVALID_REQUEST,
        NOT_FOUND,
        METHOD_NOT_ALLOWED,
        NOT_ACCEPTABLE,
        TOO_LARGE,
        UNSUPPORTED_TYPE,
        BAD_REQUEST,
        INTERNAL,
    )
}

BY_ERROR: dict[type[Exception], ProblemKind] = {
    errors.UnknownDatasetError: UNKNOWN_DATASET,
    errors.NoChampionError: NO_CHAMPION,
    errors.UnknownImageError: UNKNOWN_IMAGE,
    errors.UnreadableImageError: UNREADABLE_IMAGE,
    errors.UploadTooLargeError: IMAGE_TOO_LARGE,
    errors.QueueFullError: QUEUE_FULL,
    errors.ClosedError: SHUTTING_DOWN,
    errors.DeadlineError: DEADLINE,
    errors.CancelledError: CANCELLED,
    errors.ImageTooLargeError: IMAGE_TOO_LARGE,
    errors.PromptError: BAD_PROMPT,
    errors.UnmappedLabelError: UNMAPPED_LABEL,
    errors.NotAcceptableError: NOT_ACCEPTABLE,
    labels.UnknownLabelsError: UNKNOWN_LABELS,
    labels.ConflictError: CONFLICT,
    labels.StoreBusyError: STORE_BUSY,
    labels.StoreFullError: STORE_FULL,
    store.UnknownNameError: UNKNOWN_NAME,
    store.MismatchError: MISMATCH,
    store.DamagedError: DAMAGED,
    store.BadInputError: BAD_INPUT,
    store.StudioError: BAD_INPUT,
}
BY_STATUS = {
    kind.status: kind for kind in (BAD_REQUEST, NOT_FOUND, METHOD_NOT_ALLOWED, TOO_LARGE, UNSUPPORTED_TYPE)
}


def kind_of(error: store.StudioError) -> ProblemKind:
    """The kind of the nearest class of an error that has one."""
    return next(BY_ERROR[cls] for cls in type(error).__mro__ if cls in BY_ERROR)


def problem_response(
    kind: ProblemKind, detail: str, *, headers: dict[str, str] | None = None, **members: Any
) -> JSONResponse:
    """A response that carries a problem document, and the id by which the log knows the request."""
    request_id = current_request_id()
    if request_id is not None:
        members.setdefault("request_id", request_id)
    # What is the client's fault may quote the upload or a phrase; what is the server's does not.
    note(problem=kind.type, **({"detail": detail} if kind.status >= 500 else {}))
    document = Problem(type=kind.type, title=kind.title, status=kind.status, detail=detail, **members)
    return JSONResponse(document.model_dump(), kind.status, headers=headers, media_type=MEDIA_TYPE)


def problem_responses(*kinds: ProblemKind) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of the problems a route may answer with."""
    by_status: dict[int | str, list[ProblemKind]] = {}
    for kind in kinds:
        by_status.setdefault(kind.status, []).append(kind)
    return {status: _described(same) for status, same in by_status.items()}


def _described(kinds: Iterable[ProblemKind]) -> dict[str, Any]:
    examples = {
        kind.slug: {
            "value": {"type": kind.type, "title": kind.title, "status": kind.status, "detail": kind.meaning}
        }
        for kind in kinds
    }
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        "description": " / ".join(kind.title for kind in kinds),
        "content": {MEDIA_TYPE: {"schema": schema, "examples": examples}},
    }


def install_problems(app: FastAPI) -> None:
    """Let every refusal of the application leave as a problem document."""

    @app.exception_handler(store.StudioError)
    async def studio_error(_: Request, error: store.StudioError) -> JSONResponse:
        busy = isinstance(error, errors.BusyError | labels.StoreBusyError)
        headers = {"Retry-After": str(error.retry_after)} if busy else None
        return problem_response(kind_of(error), str(error), headers=headers)

    @app.exception_handler(RequestValidationError)
    async def invalid_request(_: Request, error: RequestValidationError) -> JSONResponse:
        # Only place and fault are repeated: the input itself may be megabytes, or a person's.
        faults = [
            {"field": ".".join(str(part) for part in fault["loc"][1:]) or "body", "message": fault["msg"]}
            for fault in error.errors()
        ]
        detail = "; ".join(f"{fault['field']}: {fault['message']}" for fault in faults)
        return problem_response(INVALID_REQUEST, detail, errors=faults)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        phrase = HTTPStatus(error.status_code).phrase
        kind = BY_STATUS.get(error.status_code)
        if kind is None:
            kind = ProblemKind("", error.status_code, phrase, phrase)
        detail = error.detail
        if detail == phrase:
            detail = f"{request.method} {request.url.path}: {phrase.lower()}; see /docs for what there is"
        return problem_response(kind, detail, headers=dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def unexpected(_: Request, error: Exception) -> JSONResponse:
        logger.error("unexpected %s", type(error).__name__)
        return problem_response(INTERNAL, "The server failed on this request; its log says why.")
