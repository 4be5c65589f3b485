"""The states of a job, what starts one, and how its run may be broken off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class JobState(StrEnum):
    """queued -> running -> succeeded, failed or cancelled.

    A running job goes back to queued when its worker dies or is asked to end; one that failed or was
    cancelled, when somebody asks to try again.
    """

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing more happens by itself."""
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


class Trigger(StrEnum):
    """What asked for a job."""

    REQUEST = "request"
    LABELS = "labels"
    SCHEDULE = "schedule"


class Stage(StrEnum):
    """What a running job is doing."""

    PREPARING = "preparing"  # the revision and its folder
    TUNING = "tuning"
    JUDGING = "judging"
    REPORTING = "reporting"


@dataclass(frozen=True)
class Job:
    """A job as it was when it was read.

    Attributes:
        id: Its name, 32 hexadecimal digits.
        dataset: Whose labels are tuned on.
        state, trigger, requested_by: See the enumerations, and who asked.
        request: What was asked for beyond the dataset's policy, and why.
        attempt: How often a worker has begun it; a clean hand-back does not count.
        cancel_requested: Somebody wants it to end.
        revision: Digest of the dataset's revision it tunes on, once it has begun.
        created_at, started_at, ended_at, heartbeat_at: Moments in UTC.
        progress: ``stage``, and what there is to tell of it.
        result: Once it has succeeded: version, verdict and whether it was promoted.
        cause: Why it failed or was cancelled, for people.
    """

    id: str
    dataset: str
    state: JobState
    trigger: Trigger
    requested_by: str
    request: Mapping[str, Any]
    attempt: int
    cancel_requested: bool
    revision: str | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    heartbeat_at: datetime | None
    progress: Mapping[str, Any]
    result: Mapping[str, Any]
    cause: str | None


@dataclass(frozen=True)
class JobEvent:
    """Something that happened in a job; ids rise."""

    id: int
    kind: str
    data: Mapping[str, Any]
    at: datetime


class BrokenOff(Exception):
    """A job's run ends here; the worker does what remains. No error of anyone's."""


class CancelRequested(BrokenOff):
    """Somebody cancelled the job."""


class WorkerEnding(BrokenOff):
    """The worker was asked to end; another goes on with the job."""


class JobLost(BrokenOff):
    """The job is another worker's by now, or counts as abandoned: nothing more may be written for it."""
