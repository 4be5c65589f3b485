"""Datasets, checkpoints and aliases."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from models_store.history import AliasMove
from models_store.identity import BaseIdentity, PresenceCut
from server.schemas.labels import LabelCountsInfo
from server.schemas.texts import Reason, Text, Who


class DatasetInfo(BaseModel):
    """A dataset that has checkpoints, or labelled data, or both."""

    name: str
    champion: str | None
    candidate: str | None
    versions: int
    labels: list[str] = Field(description="Phrases its newest version was tuned on.")
    labelled: LabelCountsInfo | None = Field(
        default=None, description="What it holds for tuning; null where it has no labelled data here."
    )


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
    presence: PresenceCut | None = Field(
        default=None, description="From which presence on a thing counts as there; null: not calibrated."
    )
    aliases: list[str]
    evaluation: dict[str, Any] = Field(default={}, description="Headline figures of its evaluation.")
    usable: bool = Field(description="Whether this server can serve it.")
    fault: str | None = Field(default=None, description="Why not.")


class AliasChange(BaseModel):
    """Who goes back to an earlier version, and why."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"reason": "worse on Monday's scans", "author": "mk"}}
    )

    reason: Reason
    author: Who


class AliasTarget(AliasChange):
    """What an alias is to mean, who says so, and why."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"version": "v0002", "reason": "Dice .81 to .86 on val", "author": "mk"}
        },
    )

    version: Text
