"""Fields and answers that the routes of labelled data share."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import Form, Path, UploadFile
from pydantic.json_schema import SkipJsonSchema

from server import problem_kinds as kinds
from server import problems
from server.routes.streams import NDJSON
from server.schemas import LabelReport
from trainer.labels.new import Split

# The addresses whose bodies may be as large as an archive.
TAKES_ARCHIVES = re.compile(r"/datasets/[^/]+/labels")
PROBLEMS = problems.problem_responses(
    kinds.BAD_REQUEST,
    kinds.CONFLICT,
    kinds.TOO_LARGE,
    kinds.UNSUPPORTED_TYPE,
    kinds.INVALID_REQUEST,
    kinds.UNREADABLE_IMAGE,
    kinds.IMAGE_TOO_LARGE,
    kinds.UNUSABLE_DATA,
    kinds.BAD_INPUT,
    kinds.QUEUE_FULL,
    kinds.STORE_BUSY,
    kinds.STORE_FULL,
)
TAKEN: dict[int | str, dict[str, Any]] = {
    200: {
        "model": LabelReport,
        "description": "Everything was there already, or it was a dry run; or progress, line by line.",
        "content": {NDJSON: {"schema": {"type": "string"}}},
    },
    201: {"description": "Something new was kept."},
}
IMAGE = "PNG, JPEG, TIFF, BMP or WebP, kept as it is; or DICOM, kept without whose it is."
Name = Annotated[str, Path(description="A labelled dataset.", examples=["busi"])]
# Not "file or null": a page of documentation would offer a field for text, and clients would send one.
OptionalFile = UploadFile | SkipJsonSchema[None]
Annotator = Annotated[str, Form(min_length=1, description="Who made the masks.", examples=["mk"])]
GroupField = Annotated[
    str | None,
    Form(description="What images belong together, such as a patient's key: one split takes them all."),
]
SplitField = Annotated[
    Split | None, Form(description="Where to use it. Default: decided here, once, by its group or likeness.")
]
DryRun = Annotated[bool, Form(description="Check everything and tell what would be kept, but keep nothing.")]
