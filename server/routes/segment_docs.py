"""What OpenAPI says of the answers of ``/segment``."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from server import problem_kinds as kinds
from server import problems
from server.outputs import ZIP
from server.outputs.contours import CONTOURS
from server.outputs.dicom import DICOM
from server.outputs.nifti import GZIP
from server.outputs.pictures import PNG
from server.schemas.contours import ContourAnswer


def whole_schema(model: type[BaseModel]) -> dict[str, Any]:
    """A model's schema without references: FastAPI knows of no second model for one status."""
    schema = model.model_json_schema()
    parts = schema.pop("$defs", {})

    def filled(node: Any) -> Any:
        if isinstance(node, list):
            return [filled(each) for each in node]
        if not isinstance(node, dict):
            return node
        name = str(node.get("$ref", "")).removeprefix("#/$defs/")
        return filled(parts[name]) if name in parts else {key: filled(value) for key, value in node.items()}

    return {key: filled(value) for key, value in schema.items()}


VERSIONS_HEADER = "X-TuneVLSeg-Versions"
CACHE_HEADER = "X-TuneVLSeg-Cache"
# https://www.w3.org/TR/server-timing/
TIMING_HEADER = "Server-Timing"
FILE = {"schema": {"type": "string", "format": "binary"}}

RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Masks, as `output` or `Accept` says.",
        "headers": {
            VERSIONS_HEADER: {
                "description": "What a file was made with, as JSON of the schema `Versions`.",
                "schema": {"type": "string"},
            },
            CACHE_HEADER: {
                "description": "Of a file, whether `image` and `text` features were there already, as JSON.",
                "schema": {"type": "string"},
            },
            TIMING_HEADER: {
                "description": "Of a file, milliseconds per step, as `timings_ms` of the JSON answer.",
                "schema": {"type": "string"},
            },
        },
        "content": {
            PNG: FILE,
            ZIP: FILE,
            GZIP: FILE,
            DICOM: FILE,
            CONTOURS: {"schema": whole_schema(ContourAnswer)},
        },
    },
    **problems.problem_responses(
        kinds.BAD_REQUEST,
        kinds.UNKNOWN_DATASET,
        kinds.NO_CHAMPION,
        kinds.UNKNOWN_NAME,
        kinds.NOT_ACCEPTABLE,
        kinds.MISMATCH,
        kinds.TOO_LARGE,
        kinds.UNSUPPORTED_TYPE,
        kinds.INVALID_REQUEST,
        kinds.UNREADABLE_IMAGE,
        kinds.IMAGE_TOO_LARGE,
        kinds.BAD_PROMPT,
        kinds.UNMAPPED_LABEL,
        kinds.BAD_INPUT,
        kinds.UNKNOWN_IMAGE,
        kinds.DAMAGED,
        kinds.QUEUE_FULL,
        kinds.SHUTTING_DOWN,
        kinds.DEADLINE,
    ),
}
