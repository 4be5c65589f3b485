"""The record of a decision: every figure it rests on, as one JSON object."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from models_store.identity import BaseIdentity
from trainer.gate.judge import Comparison
from trainer.gate.rule import PromotionRule

FORMAT = 1


class Outcome(StrEnum):
    """What a clause came to."""

    PASSED = "passed"
    FAILED = "failed"
    UNDECIDED = "undecided"
    NOT_ASKED = "not asked"


class Verdict(StrEnum):
    """What the clauses come to together.

    One failed clause rejects; else one that is undecided keeps the candidate as a candidate; else
    it is promoted.
    """

    PROMOTE = "promote"
    KEEP = "keep as candidate"
    REJECT = "reject"


class Clause(BaseModel):
    """One clause of the rule, and why it came to what it came to."""

    model_config = ConfigDict(frozen=True)

    name: str
    outcome: Outcome
    reason: str


class Route(BaseModel):
    """What the contenders were compared on, and why on that."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["val", "cross-validation"]
    reason: str
    unit: Literal["image", "group"] = Field(description="What counts as independent.")
    rows: int = Field(description="Rows on which the candidate was measured.")
    units: int
    champion_rows: int = Field(description="Those of them on which the champion could be measured fairly.")
    champion_units: int
    folds: int | None = None


class Named(BaseModel):
    """A contender: its name for people, and the digest of its pack."""

    model_config = ConfigDict(frozen=True)

    name: str
    digest: str


class RowResult(BaseModel):
    """One contender on one row."""

    model_config = ConfigDict(frozen=True)

    dice: float
    predicted_px: int
    confidence: float | None
    presence: float


class RowRecord(BaseModel):
    """One row under every contender that was measured on it."""

    model_config = ConfigDict(frozen=True)

    name: str
    phrase: str
    class_name: str
    label: str | None
    truth_px: int
    part: str = Field(description="`val`, or the fold it was kept away in.")
    sides: dict[str, RowResult]


class GateRecord(BaseModel):
    """A decision. The same packs, data, rule and seed give the same record on the same machine."""

    model_config = ConfigDict(frozen=True)

    format: int = FORMAT
    verdict: Verdict
    reason: str
    base: BaseIdentity
    candidate: Named
    champion: Named | None
    against: Literal["champion", "zero_shot"] = Field(description="Whom the rule was applied against.")
    route: Route
    rule: PromotionRule
    clauses: tuple[Clause, ...]
    comparisons: dict[str, Comparison] = Field(description="By `champion` and `zero_shot`.")
    data: dict[str, str] = Field(description="SHA-256 of the rows measured on, and of others where given.")
    seed: int
    rows: tuple[RowRecord, ...]
