"""Jobs, policies and decisions."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from server.schemas.texts import Reason, Who
from trainer.jobs.policy import HowToTune, Policy, Strategy
from trainer.jobs.states import JobState, Trigger


class Signed(BaseModel):
    """Who does something, and why."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"reason": "worse on Monday's scans", "author": "mk"}}
    )

    reason: Reason
    author: Who


class Signature(BaseModel):
    """Who does something."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"author": "mk"}})

    author: Who


class JobRequest(BaseModel):
    """A job, asked for; what is left out is as the dataset's policy says."""

    model_config = ConfigDict(
        extra="forbid",
        allow_inf_nan=False,
        json_schema_extra={"example": {"author": "mk", "reason": "twenty more labels"}},
    )

    author: Who
    reason: Reason = "asked for"
    strategies: tuple[Strategy, ...] | None = Field(None, min_length=1, max_length=16)
    budget_seconds: float | None = Field(None, gt=0, le=86_400)
    warm_start: str | None = Field(None, min_length=1, max_length=200)
    depth: int | None = Field(None, ge=1, le=64)
    n: int | None = Field(None, ge=1, le=256)
    seed: int | None = Field(None, ge=0, le=2**31 - 1)
    promote: bool | None = None

    @property
    def wishes(self) -> dict[str, Any]:
        """What it asks for, as a job keeps it."""
        asked = self.model_dump(mode="json", exclude_none=True, include=set(HowToTune.model_fields))
        return asked | {"reason": self.reason}


class JobInfo(BaseModel):
    """A job in the background."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    dataset: str
    state: JobState
    trigger: Trigger
    requested_by: str
    request: dict[str, Any] = Field(description="What was asked for beyond the policy, and why.")
    attempt: int = Field(description="How often a worker has begun it.")
    cancel_requested: bool
    revision: str | None = Field(description="Digest of the revision that it tunes on, once it has begun.")
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    heartbeat_at: datetime | None = Field(description="When its worker last said that it lives.")
    progress: dict[str, Any] = Field(description="Its `stage`, and how far that is.")
    result: dict[str, Any] = Field(description="Version, verdict and decision, once it has succeeded.")
    cause: str | None = Field(description="Why it failed or was cancelled.")


class JobEventInfo(BaseModel):
    """Something that happened in a job."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    kind: str
    data: dict[str, Any]
    at: datetime


class PolicyChange(Signed):
    """Another policy, who gives it, and why."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "author": "mk",
                "reason": "labels come in daily",
                "policy": {"after_labels": 20, "schedule": "0 3 * * *"},
            }
        },
    )

    policy: Policy


class DecisionInfo(BaseModel):
    """What was decided on a version, by whom, and on which figures."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    kind: str = Field(
        description="`promoted`, `rolled_back`, `kept`, `rejected`, `pinned`, `unpinned` or `policy`."
    )
    version: str | None
    champion: str | None = Field(description="The champion until then.")
    author: str
    reason: str
    figures: dict[str, Any]
    job: str | None
    at: datetime
