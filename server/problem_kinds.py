"""Kinds of problems, each with a stable address that a client may branch on."""

from __future__ import annotations

from dataclasses import dataclass


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
UNUSABLE_DATA = ProblemKind(
    "unusable-data",
    422,
    "Unusable labelled data",
    "Labelled data that cannot be right. Nothing was kept; the member `faults` lists what is wrong, each "
    "with its `file` where one is at fault.",
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
        UNUSABLE_DATA,
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
