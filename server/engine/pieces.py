"""What waits for the worker."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import Enum, auto
from threading import Event

from torch import Tensor

from models_store.errors import StudioError
from models_store.packs import ZERO_SHOT, PromptPack
from models_store.vlsm import ImageFeatures
from server.engine.checkpoints import ServedCheckpoint
from server.engine.results import CacheUse
from server.errors import CancelledError, DeadlineError

OUT_OF_TIME = "the masks were not made within the time a request has; try again later"


class Stage(Enum):
    """How far a call has come."""

    COMING = auto()
    """Admitted; its first image is being prepared."""
    WAITING = auto()
    """None of its images has been taken by the worker yet."""
    RUNNING = auto()
    OVER = auto()
    """Its thread has gone on, with or without masks."""


@dataclass(eq=False)
class Call:
    """One request.

    Attributes:
        user: Whose turn it uses.
        size: Bytes of its images.
        deadline: When it is given up (``time.monotonic()``); None means never.
        cancelled: Set when nobody waits for the answer any more.
        stage: How far it has come; the batcher's alone.
    """

    user: str
    size: int
    deadline: float | None
    cancelled: Event
    stage: Stage = Stage.COMING

    def fault(self) -> StudioError | None:
        """Why it should not be worked on, if so."""
        if self.cancelled.is_set() or self.stage is Stage.OVER:
            return CancelledError("the client went away before its masks were made")
        if self.deadline is not None and time.monotonic() >= self.deadline:
            return DeadlineError(OUT_OF_TIME)
        return None


@dataclass(frozen=True)
class Made:
    """What the worker made of a piece.

    Attributes:
        logits: [P, 1, S, S] on the processor.
        timings_ms: Steps ``image``, ``text`` and ``mask`` of its batch.
        started: When its batch began (``time.perf_counter()``).
        cache: For ``image`` and ``text``.
        batch_rows: Pairs of image and phrase in its batch.
    """

    logits: Tensor
    timings_ms: dict[str, float]
    started: float
    cache: dict[str, CacheUse]
    batch_rows: int = 0


@dataclass(eq=False)
class Piece:
    """One image of a call under its phrases.

    Attributes:
        call: The call.
        digest: Digest that stands for the image.
        pixels: [3, S, S]; None where the features are there already.
        features: The image's features, if they were cached when it was prepared.
        phrases: One or more.
        checkpoint: None means zero-shot.
        made: What comes of it.
        prepared: When it was ready (``time.perf_counter()``).
    """

    call: Call
    digest: str
    pixels: Tensor | None
    features: ImageFeatures | None
    phrases: list[str]
    checkpoint: ServedCheckpoint | None
    made: Future[Made] = field(default_factory=Future)
    prepared: float = 0.0

    @property
    def rows(self) -> int:
        return len(self.phrases)

    @property
    def pack(self) -> PromptPack:
        return ZERO_SHOT if self.checkpoint is None else self.checkpoint.pack

    @property
    def pack_digest(self) -> str:
        return "" if self.checkpoint is None else self.checkpoint.digest

    @property
    def visual_digest(self) -> str:
        return ZERO_SHOT.visual_digest if self.checkpoint is None else self.checkpoint.visual_digest


class FairQueue:
    """Pieces in turns: users take turns, and so do the calls of each user.

    So one user's hundred calls do not hold up another's one, nor a call of a hundred images
    another of one, where nobody says who the user is.
    """

    def __init__(self) -> None:
        self._users: OrderedDict[str, OrderedDict[Call, deque[Piece]]] = OrderedDict()

    def push(self, piece: Piece) -> None:
        """Put a piece behind its call's others."""
        calls = self._users.setdefault(piece.call.user, OrderedDict())
        calls.setdefault(piece.call, deque()).append(piece)

    def take(self, rows: int) -> list[Piece]:
        """The next pieces, of at most so many rows together; at least one, if there is any."""
        taken: list[Piece] = []
        room = rows
        while self._users:
            user, calls = next(iter(self._users.items()))
            call, waiting = next(iter(calls.items()))
            if taken and waiting[0].rows > room:
                break
            piece = waiting.popleft()
            taken.append(piece)
            room -= piece.rows
            calls.move_to_end(call)
            self._users.move_to_end(user)
            self._tidy(user, call)
        return taken

    def drop_faulty(self) -> list[tuple[Piece, StudioError]]:
        """Take out every piece of a call that should not be worked on."""
        dropped: list[tuple[Piece, StudioError]] = []
        for user, calls in list(self._users.items()):
            for call, waiting in list(calls.items()):
                fault = call.fault()
                if fault is not None:
                    dropped += [(piece, fault) for piece in waiting]
                    waiting.clear()
                    self._tidy(user, call)
        return dropped

    def _tidy(self, user: str, call: Call) -> None:
        if not self._users[user][call]:
            del self._users[user][call]
        if not self._users[user]:
            del self._users[user]

    def __len__(self) -> int:
        return sum(len(waiting) for calls in self._users.values() for waiting in calls.values())

    @property
    def rows(self) -> int:
        """Rows of all pieces."""
        every = (waiting for calls in self._users.values() for waiting in calls.values())
        return sum(piece.rows for waiting in every for piece in waiting)
