"""What a job comes to: the gate's verdict, and what is decided on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from models_store.registry import Reference
from trainer.gate.record import Verdict


class Kind(StrEnum):
    """What was decided."""

    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    KEPT = "kept"
    REJECTED = "rejected"
    PINNED = "pinned"
    UNPINNED = "unpinned"
    POLICY = "policy"


@dataclass(frozen=True)
class Decision:
    """A decision on a version.

    Attributes:
        id: Counts up.
        kind: What.
        version, champion: On which version, and which was the champion before.
        author, reason: Who, and why.
        figures: What it rests on: the gate's record without its rows.
        job: Whose candidate it was.
        report: Digest of the kept page, if there is one.
        at: When.
    """

    id: int
    kind: Kind
    version: str | None
    champion: str | None
    author: str
    reason: str
    figures: Mapping[str, Any]
    job: str | None
    report: str | None
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a job has to be decided on.

    Attributes:
        candidate: Its version.
        champion: The version in use when it was judged; None where there was none.
        verdict, reason: The gate's.
        promote: Whether the policy lets a job promote.
        figures: For the record.
        report: Digest of the kept page.
    """

    candidate: Reference
    champion: str | None
    verdict: Verdict
    reason: str
    promote: bool
    figures: Mapping[str, Any] = field(default_factory=dict)
    report: str | None = None


def what_to_do(outcome: Outcome, in_use: str | None, pinned: str | None) -> tuple[Kind, str]:
    """What becomes of a candidate, and why.

    Args:
        outcome: What the gate says of it.
        in_use: The champion now.
        pinned: The version that no job may replace.
    """
    reason = outcome.reason
    if in_use == outcome.candidate.version:
        return Kind.PROMOTED, reason
    if outcome.verdict is not Verdict.PROMOTE:
        return (Kind.REJECTED if outcome.verdict is Verdict.REJECT else Kind.KEPT), reason
    against = None
    if pinned is not None:
        against = f"{pinned} is pinned"
    elif not outcome.promote:
        against = "the policy leaves promotion to a person"
    elif in_use != outcome.champion:
        against = (
            f"it was compared with {outcome.champion or 'none'} and the champion is {in_use or 'none'} now"
        )
    if against is not None:
        return Kind.KEPT, f"it passed the gate, but {against}; {reason}"
    return Kind.PROMOTED, reason
