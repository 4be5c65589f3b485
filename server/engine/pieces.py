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
    """Pieces by user, taken in turn, so that one user's hundred images do not hold up another's one."""

    def __init__(self) -> None:
        self._by_user: OrderedDict[str, deque[Piece]] = OrderedDict()

    def push(self, piece: Piece) -> None:
        """Put a piece behind its user's others."""
        self._by_user.setdefault(piece.call.user, deque()).append(piece)

    def take(self, rows: int) -> list[Piece]:
        """The next pieces, of at most so many rows together; at least one, if there is any."""
        taken: list[Piece] = []
        room = rows
        while self._by_user:
            user, waiting = next(iter(self._by_user.items()))
            if taken and waiting[0].rows > room:
                break
            piece = waiting.popleft()
            taken.append(piece)
            room -= piece.rows
            if waiting:
                self._by_user.move_to_end(user)
            else:
                del self._by_user[user]
        return taken

    def drop_faulty(self) -> list[tuple[Piece, StudioError]]:
        """Take out every piece of a call that should not be worked on."""
        dropped = []
        for user, waiting in list(self._by_user.items()):
            faults = [(piece, piece.call.fault()) for piece in waiting]
            dropped += [(piece, fault) for piece, fault in faults if fault is not None]
            kept = deque(piece for piece, fault in faults if fault is None)
            if kept:
                self._by_user[user] = kept
            else:
                del self._by_user[user]
        return dropped

    def __len__(self) -> int:
        return sum(map(len, self._by_user.values()))

    @property
    def rows(self) -> int:
        """Rows of all pieces."""
        return sum(piece.rows for waiting in self._by_user.values() for piece in waiting)
