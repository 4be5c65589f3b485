"""Requests and answers of the REST API."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from models_store.checkpoints import BaseIdentity
from models_store.history import AliasMove

NOTICE = "Research use only. Not a medical device."


class Output(StrEnum):
    """What ``/segment`` answers with."""

    JSON = "json"
    PNG = "png"
    OVERLAY = "overlay"
    PROBABILITY = "probability"


class ImageInfo(BaseModel):
    """The image as it was read: upright, at its own size."""

    width: int
    height: int
    format: str
    digest: str = Field(description="SHA-256 of the file.")
    pixel_spacing_mm: tuple[float, float] | None = Field(
        description="Millimetres between rows and between columns, where the file says."
    )
    preview_png: str | None = Field(
        None, description="Base64 PNG of the image as it was read; only with `probabilities`."
    )


class RunLengths(BaseModel):
    """A mask as COCO run lengths, as pycocotools reads them."""

    size: tuple[int, int] = Field(description="Height and width.")
    counts: str


class MaskInfo(BaseModel):
    """One phrase's mask."""

    prompt: str
    rle: RunLengths
    box: tuple[int, int, int, int] | None = Field(
        description="x0, y0, x1, y1 in pixels, half-open; null for an empty mask."
    )
    area_px: int
    area_mm2: float | None
    confidence: float | None = Field(description="Mean probability inside the mask; null for an empty mask.")
    probability_png: str | None = Field(
        default=None, description="Base64 of an 8-bit PNG of the probability map; only when asked for."
    )


class UsedCheckpoint(BaseModel):
    """The checkpoint an answer was made with."""

    version: str
    strategy: str
    digest: str = Field(description="Digest of the folded pack.")


class Versions(BaseModel):
    """What an answer was made with."""

    base: BaseIdentity
    dataset: str | None
    checkpoint: UsedCheckpoint | None = Field(description="null means zero-shot.")


class SegmentAnswer(BaseModel):
    """Answer of ``/segment`` with ``output=json``."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "image": {
                    "width": 128,
                    "height": 128,
                    "format": "DICOM",
                    "digest": "5db2d3b0…",
                    "pixel_spacing_mm": [0.66, 0.66],
                },
                "masks": [
                    {
                        "prompt": "liver",
                        "rle": {"size": [128, 128], "counts": "mV75Z36H3N3"},
                        "box": [12, 40, 60, 99],
                        "area_px": 1980,
                        "area_mm2": 866.3,
                        "confidence": 0.91,
                    }
                ],
                "threshold": 0.5,
                "versions": {
                    "base": {"name": "clipseg-tiny-med", "digest": "9a41…"},
                    "dataset": "busi",
                    "checkpoint": {"version": "v0002", "strategy": "vpt", "digest": "c07e…"},
                },
                "timings_ms": {
                    "decode": 3.1,
                    "prepare": 2.4,
                    "image": 60.2,
                    "text": 9.8,
                    "mask": 14.0,
                    "total": 91.7,
                },
                "notice": NOTICE,
            }
        }
    )

    image: ImageInfo
    masks: list[MaskInfo]
    threshold: float
    versions: Versions
    timings_ms: dict[str, float]
    notice: str = NOTICE

    def written(self, *, indent: int | None = None) -> str:
        """As JSON. Pictures that were not asked for are left out; what is null by nature stays."""
        pictures: dict[str, Any] = {"image": {"preview_png"}, "masks": {"__all__": {"probability_png"}}}
        return self.model_dump_json(
            indent=indent, exclude=pictures if self.image.preview_png is None else None
        )


class DatasetInfo(BaseModel):
    """A dataset that has checkpoints."""

    name: str
    champion: str | None
    candidate: str | None
    versions: int
    labels: list[str] = Field(description="Phrases its newest version was tuned on.")


class DatasetDetail(DatasetInfo):
    """A dataset with every move of its aliases, oldest first."""

    history: list[AliasMove]


class CheckpointInfo(BaseModel):
    """A version in the registry; what a damaged one does not tell is null."""

    reference: str
    dataset: str
    version: str
    strategy: str | None = None
    depth: int | None = None
    n: int | None = None
    head: str | None = None
    base: BaseIdentity | None = None
    digest: str | None = Field(default=None, description="Digest of the folded pack.")
    created: datetime | None = None
    labels: list[str] = []
    threshold: float | None = None
    aliases: list[str]
    evaluation: dict[str, Any] = Field(default={}, description="Headline figures of its evaluation.")
    usable: bool = Field(description="Whether this server can serve it.")
    fault: str | None = Field(default=None, description="Why not.")


Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]


class AliasChange(BaseModel):
    """Who goes back to an earlier version, and why."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"reason": "worse on Monday's scans", "author": "mk"}}
    )

    reason: Text
    author: Text


class AliasTarget(AliasChange):
    """What an alias is to mean, who says so, and why."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"version": "v0002", "reason": "Dice .81 to .86 on val", "author": "mk"}
        },
    )

    version: Text


class Health(BaseModel):
    """Whether the process lives."""

    status: str


class Readiness(BaseModel):
    """Whether masks can be made."""

    ready: bool
    detail: str


class Capabilities(BaseModel):
    """What this server can do, for clients that build their menus from it."""

    base: dict[str, Any] = Field(description="Sizes and identity of the frozen model.")
    strategies: list[str]
    outputs: list[Output]
    image_formats: list[str]
    limits: dict[str, int]
    default_threshold: float
    overlay_colours: list[str] = Field(description="Colours of the masks in an overlay, in order.")
    version: str
    notice: str = NOTICE
