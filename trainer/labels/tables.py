"""The tables. Rows are added and, but for jobs and counters, never changed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
DIGEST = String(64)
NAME = String(64)
WHO = String(200)


class Moment(TypeDecorator[datetime]):
    """A moment in UTC. SQLite keeps no time zone, so it is put back on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Table(DeclarativeBase):
    """Base of the tables."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar[dict[Any, Any]] = {datetime: Moment, dict[str, Any]: JSON, list[str]: JSON}


class DatasetRow(Table):
    """A labelled dataset.

    ``policy`` says when it is tuned and what is promoted; ``pinned`` is the version that may not be
    replaced as champion; ``splits_drawn`` counts the groups whose split was decided here.
    """

    __tablename__ = "datasets"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(NAME, unique=True)
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(WHO)
    policy: Mapped[dict[str, Any]]
    pinned: Mapped[str | None] = mapped_column(NAME)
    splits_drawn: Mapped[int] = mapped_column(default=0)


class GroupRow(Table):
    """Images that belong together, such as a patient's, and the split they are in for good."""

    __tablename__ = "groups"
    __table_args__ = (UniqueConstraint("dataset_id", "key"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"))
    key: Mapped[str] = mapped_column(String(200))
    split: Mapped[str] = mapped_column(String(8))
    decided_by: Mapped[str] = mapped_column(String(16))


class ImageRow(Table):
    """An image. ``picture`` is what is trained on; ``source`` the DICOM file it was rendered from, if any."""

    __tablename__ = "images"
    __table_args__ = (UniqueConstraint("dataset_id", "pixels"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"))
    group_id: Mapped[int] = mapped_column(ForeignKey("groups.id"), index=True)
    name: Mapped[str] = mapped_column(String(300))
    picture: Mapped[str] = mapped_column(DIGEST, index=True)
    suffix: Mapped[str] = mapped_column(String(8))
    pixels: Mapped[str] = mapped_column(DIGEST)
    fingerprint: Mapped[str] = mapped_column(String(64))
    source: Mapped[str | None] = mapped_column(DIGEST)
    frame: Mapped[int | None]
    width: Mapped[int]
    height: Mapped[int]
    flags: Mapped[list[str]]
    added_at: Mapped[datetime]
    added_by: Mapped[str] = mapped_column(WHO)


class AnnotationRow(Table):
    """One annotator's mask of one thing in an image; never changed, only followed by others."""

    __tablename__ = "annotations"
    __table_args__ = (UniqueConstraint("image_id", "key"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id"), index=True)
    key: Mapped[str] = mapped_column(DIGEST)
    phrase: Mapped[str] = mapped_column(Text)
    prompts: Mapped[dict[str, Any]]
    class_name: Mapped[str | None] = mapped_column(String(200))
    mask: Mapped[str] = mapped_column(DIGEST, index=True)
    foreground: Mapped[int]
    annotator: Mapped[str] = mapped_column(WHO)
    checkpoint: Mapped[str | None] = mapped_column(String(200))
    how: Mapped[str] = mapped_column(String(16))
    at: Mapped[datetime]


class ReviewRow(Table):
    """A decision on an annotation; the last one counts."""

    __tablename__ = "reviews"

    id: Mapped[int] = mapped_column(primary_key=True)
    annotation_id: Mapped[int] = mapped_column(ForeignKey("annotations.id"), index=True)
    state: Mapped[str] = mapped_column(String(16))
    reviewer: Mapped[str] = mapped_column(WHO)
    reason: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime]


class RevisionRow(Table):
    """An immutable state of a dataset; ``manifest`` is the digest of the file that lists it."""

    __tablename__ = "revisions"
    __table_args__ = (UniqueConstraint("dataset_id", "number"), UniqueConstraint("dataset_id", "manifest"))

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"))
    number: Mapped[int]
    manifest: Mapped[str] = mapped_column(DIGEST)
    splits: Mapped[str] = mapped_column(DIGEST)
    counts: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(WHO)


class JobRow(Table):
    """A job in the background; ``owner`` and ``heartbeat_at`` say which worker is at it and lives."""

    __tablename__ = "jobs"
    # Whatever the processes do, a dataset has one job at a time at work.
    __table_args__ = (
        Index(
            "uq_jobs_running",
            "dataset_id",
            unique=True,
            sqlite_where=text("state = 'running'"),
            postgresql_where=text("state = 'running'"),
        ),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"), index=True)
    trigger: Mapped[str] = mapped_column(String(16))
    requested_by: Mapped[str] = mapped_column(WHO)
    request: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(16), index=True)
    attempt: Mapped[int] = mapped_column(default=0)
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    revision_id: Mapped[int | None] = mapped_column(ForeignKey("revisions.id"))
    owner: Mapped[str | None] = mapped_column(String(200))
    heartbeat_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    progress: Mapped[dict[str, Any]]
    result: Mapped[dict[str, Any]]
    cause: Mapped[str | None] = mapped_column(Text)


class JobEventRow(Table):
    """What happened in a job, in order; clients read on from the last one they saw."""

    __tablename__ = "job_events"

    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), index=True)
    kind: Mapped[str] = mapped_column(String(32))
    data: Mapped[dict[str, Any]]
    at: Mapped[datetime]


class DecisionRow(Table):
    """What was decided on a version, such as promoted, kept, rejected or pinned, with its figures."""

    __tablename__ = "decisions"

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"), index=True)
    job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id"))
    kind: Mapped[str] = mapped_column(String(16))
    version: Mapped[str | None] = mapped_column(NAME)
    champion: Mapped[str | None] = mapped_column(NAME)
    author: Mapped[str] = mapped_column(WHO)
    reason: Mapped[str] = mapped_column(Text)
    figures: Mapped[dict[str, Any]]
    report: Mapped[str | None] = mapped_column(DIGEST)
    at: Mapped[datetime]
