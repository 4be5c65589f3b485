"""Problem documents (RFC 9457): how every refusal leaves the server.

The type of a problem is a stable address; a client may branch on it, and ``GET`` of it on
this server says what it means.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from models_store import errors as store
from server import errors
from server import problem_kinds as kinds
from server.problem_kinds import ProblemKind
from server.request_notes import current_request_id, note
from trainer.data import faults
from trainer.intake.faults import RefusedUploadError
from trainer.labels import errors as labels

MEDIA_TYPE = "application/problem+json"
# A problem document with more would be read by nobody; the first line says how many there are.
MOST_FAULTS = 1000
logger = logging.getLogger(__name__)


class Problem(BaseModel):
    """A problem document; further members may follow, ``request_id`` among them."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str


BY_ERROR: dict[type[Exception], ProblemKind] = {
    errors.UnknownDatasetError: kinds.UNKNOWN_DATASET,
    errors.NoChampionError: kinds.NO_CHAMPION,
    errors.UnknownImageError: kinds.UNKNOWN_IMAGE,
    errors.UnreadableImageError: kinds.UNREADABLE_IMAGE,
    errors.UploadTooLargeError: kinds.IMAGE_TOO_LARGE,
    errors.QueueFullError: kinds.QUEUE_FULL,
    errors.ClosedError: kinds.SHUTTING_DOWN,
    errors.DeadlineError: kinds.DEADLINE,
    errors.CancelledError: kinds.CANCELLED,
    errors.ImageTooLargeError: kinds.IMAGE_TOO_LARGE,
    errors.PromptError: kinds.BAD_PROMPT,
    errors.UnmappedLabelError: kinds.UNMAPPED_LABEL,
    errors.NotAcceptableError: kinds.NOT_ACCEPTABLE,
    labels.UnknownLabelsError: kinds.UNKNOWN_LABELS,
    labels.ConflictError: kinds.CONFLICT,
    labels.StoreBusyError: kinds.STORE_BUSY,
    labels.StoreFullError: kinds.STORE_FULL,
    store.UnknownNameError: kinds.UNKNOWN_NAME,
    store.MismatchError: kinds.MISMATCH,
    store.DamagedError: kinds.DAMAGED,
    faults.UnusableDataError: kinds.UNUSABLE_DATA,
    store.BadInputError: kinds.BAD_INPUT,
    store.StudioError: kinds.BAD_INPUT,
}
BY_STATUS = {
    kind.status: kind
    for kind in (
        kinds.BAD_REQUEST,
        kinds.NOT_FOUND,
        kinds.METHOD_NOT_ALLOWED,
        kinds.TOO_LARGE,
        kinds.UNSUPPORTED_TYPE,
    )
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


def refusal(error: store.StudioError) -> JSONResponse:
    """The response that an error leaves as."""
    headers = members = None
    if isinstance(error, errors.BusyError | labels.StoreBusyError):
        headers = {"Retry-After": str(error.retry_after)}
    if isinstance(error, RefusedUploadError):
        listed = error.of_files[:MOST_FAULTS]
        members = {"faults": [{"file": fault.file, "message": fault.message} for fault in listed]}
    return problem_response(kind_of(error), str(error), headers=headers, **(members or {}))


def problem_responses(*named: ProblemKind) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of the problems a route may answer with."""
    by_status: dict[int | str, list[ProblemKind]] = {}
    for kind in named:
        by_status.setdefault(kind.status, []).append(kind)
    return {status: _described(kinds_of) for status, kinds_of in by_status.items()}


def _described(same: Iterable[ProblemKind]) -> dict[str, Any]:
    examples = {
        kind.slug: {
            "value": {"type": kind.type, "title": kind.title, "status": kind.status, "detail": kind.meaning}
        }
        for kind in same
    }
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        "description": " / ".join(kind.title for kind in same),
        "content": {MEDIA_TYPE: {"schema": schema, "examples": examples}},
    }


def install_problems(app: FastAPI) -> None:
    """Let every refusal of the application leave as a problem document."""

    @app.exception_handler(store.StudioError)
    async def studio_error(_: Request, error: store.StudioError) -> JSONResponse:
        return refusal(error)

    @app.exception_handler(RequestValidationError)
    async def invalid_request(_: Request, error: RequestValidationError) -> JSONResponse:
        # Only place and fault are repeated: the input itself may be megabytes, or a person's.
        faults = [
            {"field": ".".join(str(part) for part in fault["loc"][1:]) or "body", "message": fault["msg"]}
            for fault in error.errors()
        ]
        detail = "; ".join(f"{fault['field']}: {fault['message']}" for fault in faults)
        return problem_response(kinds.INVALID_REQUEST, detail, errors=faults)

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
        return problem_response(kinds.INTERNAL, "The server failed on this request; its log says why.")
