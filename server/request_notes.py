"""What is noted about a request while it is answered, for its line in the log.

Notes hold no image, no file name and no address beyond the route's pattern: a log outlives a
request and is read by others. Phrases may be about a patient, so they are counted, and written
out only where a deployment asks for it.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from server.engine import Segmentation

# Long enough for every tracing header in use; nothing that could break a line or a header.
SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass
class Notes:
    """Of one request.

    Attributes:
        request_id: Its id.
        phrases_too: Whether phrases are written out.
        facts: What its line will say.
    """

    request_id: str
    phrases_too: bool = False
    facts: dict[str, Any] = field(default_factory=dict)


_current: ContextVar[Notes | None] = ContextVar("request_notes", default=None)


def choose_request_id(sent: str | None) -> str:
    """The id a client sent, if it is sane; else a new one."""
    return sent if sent is not None and SANE_ID.fullmatch(sent) else uuid.uuid4().hex


@contextmanager
def taking_notes(notes: Notes) -> Iterator[Notes]:
    """Let these be the notes of whatever runs inside, worker threads among it."""
    token = _current.set(notes)
    try:
        yield notes
    finally:
        _current.reset(token)


def current_request_id() -> str | None:
    """Id of the request being answered; None outside of one."""
    notes = _current.get()
    return None if notes is None else notes.request_id


def note(**facts: Any) -> None:
    """Add facts to the line of the request being answered; outside of one, nothing happens."""
    notes = _current.get()
    if notes is not None:
        notes.facts.update(facts)


def note_segmentation(results: Sequence[Segmentation], *, user: str = "") -> None:
    """Note what a request's masks were made with.

    Of several images, a cache hit means all of them; timings and batch are the first one's.

    Args:
        results: One for each image; all of one checkpoint and the same phrases.
        user: Who asked, where that is known.
    """
    notes = _current.get()
    if notes is None or not results:
        return
    first = results[0]
    facts: dict[str, Any] = {"images": len(results), "phrases": len(first.phrases)}
    if first.checkpoint is not None:
        facts["dataset"] = first.checkpoint.reference.dataset
        facts["checkpoint"] = str(first.checkpoint.reference)
        facts["strategy"] = first.checkpoint.strategy
    if first.instead_of is not None:
        facts["instead_of"] = str(first.instead_of)
    facts["batch_rows"] = first.batch_rows
    facts["cache"] = {
        kind: "hit" if all(result.cache[kind] == "hit" for result in results) else "miss"
        for kind in first.cache
    }
    facts["timings_ms"] = rounded(first.timings_ms)
    if user:
        facts["user"] = user
    if notes.phrases_too:
        facts["phrase_texts"] = list(first.phrases)
    notes.facts.update(facts)


def rounded(milliseconds: Mapping[str, float]) -> dict[str, float]:
    """Steps to the hundredth of a millisecond."""
    return {step: round(value, 2) for step, value in milliseconds.items()}
