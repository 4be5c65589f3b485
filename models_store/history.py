"""The history of a dataset's aliases."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict


class AliasMove(BaseModel):
    """One line of the history."""

    model_config = ConfigDict(frozen=True)

    alias: str
    kind: Literal["move", "rollback"]
    previous: str | None
    version: str
    author: str
    reason: str
    at: datetime


def trail_of(moves: Sequence[AliasMove], now: str | None) -> list[str]:
    """The versions an alias has meant, the present one last, without those rolled back.

    A crash can come between the record of a move and the move itself. The next record's
    ``previous``, or what the alias means ``now``, tells that it did, and the record is passed over.
    """
    trail: list[str] = []
    before = trail
    for move in moves:
        if (trail[-1] if trail else None) != move.previous:
            trail = before
        before = trail
        if move.kind == "rollback":
            trail = trail[:-1]
        elif move.version != move.previous:
            trail = [*trail, move.version]
    return trail if trail and trail[-1] == now else before
