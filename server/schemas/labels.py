"""Labelled data: images, annotations, reviews, revisions."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from server.schemas.texts import Reason, Who
from trainer.labels.new import How, Split, State

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class LabelCountsInfo(BaseModel):
    """What a labelled dataset holds."""

    images: int
    unlabelled: int = Field(description="Images without an annotation that is not rejected.")
    annotations: dict[State, int] = Field(description="By state.")
    splits: dict[Split, int] = Field(description="Images by split.")


class LabelReport(BaseModel):
    """What an upload did, or with `dry_run` would do."""

    dataset: str
    dry_run: bool
    images: int = Field(description="New images.")
    known_images: int = Field(description="Images that were there already.")
    annotations: int = Field(description="New annotations.")
    known_annotations: int = Field(description="Annotations that were there already.")
    splits: dict[str, int] = Field(description="New images by the split they are in for good.")
    image_ids: list[int] = Field(description="Of each image sent, in order; none of a dry run.")
    annotation_ids: list[int] = Field(description="Of each annotation sent, in order; none of a dry run.")
    flagged: int = Field(description="Images sent that a person should look at; their `flags` say why.")
    remarks: list[str] = Field(description="What was done otherwise than asked, or is worth knowing.")


class ReviewInfo(BaseModel):
    """A decision on an annotation."""

    model_config = ConfigDict(from_attributes=True)

    state: State
    reviewer: str
    reason: str
    at: datetime


class AnnotationInfo(BaseModel):
    """One annotator's mask of one thing."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    image_id: int
    phrase: str
    prompts: dict[str, Any]
    class_name: str | None
    mask: str = Field(description="SHA-256 of its PNG file.")
    foreground: int = Field(description="Pixels inside.")
    annotator: str
    checkpoint: str | None = Field(description="The version whose mask it started from.")
    how: How
    at: datetime
    state: State
    reviews: list[ReviewInfo] = Field(description="Oldest first; the last one is its state.")


class LabelledImageInfo(BaseModel):
    """An image of a labelled dataset."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    picture: str = Field(description="SHA-256 of its file.")
    suffix: str
    source: str | None = Field(description="SHA-256 of the de-identified DICOM file it was rendered from.")
    frame: int | None
    width: int
    height: int
    split: Split
    group: str | None
    flags: list[str]
    added_at: datetime
    added_by: str
    annotations: list[AnnotationInfo]


class ImagePage(BaseModel):
    """A page of images by id."""

    images: list[LabelledImageInfo]
    next: int | None = Field(description="`after` of the next page; null on the last.")


class AnnotationPage(BaseModel):
    """A page of annotations by id."""

    annotations: list[AnnotationInfo]
    next: int | None = Field(description="`after` of the next page; null on the last.")


class NewReview(BaseModel):
    """What becomes of an annotation, who says so, and why."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"state": "accepted", "reviewer": "mk", "reason": "edges checked"}},
    )

    state: State
    reviewer: Who
    reason: Reason


class FreezeRequest(BaseModel):
    """Who freezes a revision."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"author": "mk"}})

    author: Who


class RevisionInfo(BaseModel):
    """An immutable state of a dataset: equal digests mean equal data."""

    model_config = ConfigDict(from_attributes=True)

    dataset: str
    number: int
    digest: str
    splits: str = Field(description="SHA-256 of which image is in which split.")
    counts: dict[str, Any]
    created_at: datetime
    created_by: str


class KnownQuery(BaseModel):
    """SHA-256 of files that a client has."""

    model_config = ConfigDict(extra="forbid")

    digests: list[Digest] = Field(max_length=10_000)


class KnownImage(BaseModel):
    """An image that need not be sent again."""

    id: int
    phrases: list[str] = Field(description="What is marked in it, rejected annotations aside.")


class KnownFiles(BaseModel):
    """Images that are there, by the digest of their file; what is not listed is to be sent."""

    known: dict[str, KnownImage]
