"""One worker that owns the model, and the queue before it."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Condition, Thread

from server.engine.events import EngineEvents
from server.engine.pieces import Call, FairQueue, Piece, Stage
from server.errors import ClosedError, QueueFullError

logger = logging.getLogger(__name__)
LONGEST_RETRY = 60
# How much the newest batch says about how fast the worker is.
NEWEST = 0.3


class Batcher:
    """Gathers what waits into batches.

    A batch starts as soon as the worker is free and something waits; it waits for company, for
    ``window`` at most, only while other calls are known to be on their way. What arrives during a
    batch makes up the next one.

    Args:
        run: Makes the masks of some pieces and gives each its result; called by the worker alone.
        most_rows: Pairs of image and phrase in a batch; a piece of more is run alone.
        window: Longest wait for company, in seconds.
        queue_length: Calls that may wait; more are refused.
        queue_bytes: Bytes of images that all calls may hold together; a call is taken, however
            large, where there is no other.
        events: Told of batches and the queue.
    """

    def __init__(
        self,
        run: Callable[[list[Piece]], None],
        *,
        most_rows: int,
        window: float,
        queue_length: int,
        queue_bytes: int,
        events: EngineEvents,
    ):
        self._run = run
        self._most_rows = most_rows
        self._window = window
        self._queue_length = queue_length
        self._queue_bytes = queue_bytes
        self._events = events
        self._changed = Condition()
        self._queue = FairQueue()
        self._calls: set[Call] = set()
        self._worker: Thread | None = None
        self._closed = False
        self._seconds_per_row = 0.0

    @contextmanager
    def admitted(self, call: Call) -> Iterator[None]:
        """Room for a call, from before its images are prepared to after its masks are made.

        Raises:
            QueueFullError: Too many calls wait, or too many bytes of images are held.
            ClosedError: The service is shutting down.
        """
        with self._changed:
            self._check_room(call)
            self._calls.add(call)
            self._tell()
        try:
            yield
        finally:
            with self._changed:
                self._calls.discard(call)
                # What it leaves in the queue, after an error, is not worked on.
                call.stage = Stage.OVER
                self._tell()
                self._changed.notify_all()

    def _check_room(self, call: Call) -> None:
        if self._closed:
            raise ClosedError("the service is shutting down", retry_after=1)
        waiting, held = self._waiting(), sum(other.size for other in self._calls)
        if waiting >= self._queue_length or (self._calls and held + call.size > self._queue_bytes):
            seconds = math.ceil(self._seconds_per_row * self._queue.rows)
            raise QueueFullError(
                f"{waiting} requests wait already; try again later",
                retry_after=min(max(seconds, 1), LONGEST_RETRY),
            )

    def push(self, piece: Piece) -> None:
        """Let a piece of an admitted call wait for its turn."""
        with self._changed:
            self._queue.push(piece)
            if piece.call.stage is Stage.COMING:
                piece.call.stage = Stage.WAITING
            if self._worker is None:
                self._worker = Thread(target=self._work, name="engine", daemon=True)
                self._worker.start()
            self._changed.notify_all()

    def close(self) -> None:
        """Refuse new calls, finish those admitted, stop the worker."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._calls)
            worker, self._worker = self._worker, None
            self._changed.notify_all()
        if worker is not None:
            worker.join()

    def open(self) -> None:
        """Take calls again after :meth:`close`."""
        with self._changed:
            self._closed = False

    # The worker

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: len(self._queue) or self._worker is None)
                if not len(self._queue):
                    return
                self._wait_for_company()
                batch = self._take()
            if batch:
                self._run_timed(batch)
            # Or its tensors would live until the next batch.
            del batch

    def _wait_for_company(self) -> None:
        """Wait while others are on their way; a call that is alone never waits."""
        end = time.monotonic() + self._window
        while self._queue.rows < self._most_rows and any(c.stage is Stage.COMING for c in self._calls):
            if not self._changed.wait(max(end - time.monotonic(), 0)):
                break

    def _take(self) -> list[Piece]:
        for piece, fault in self._queue.drop_faulty():
            piece.made.set_exception(fault)
        batch = self._queue.take(self._most_rows)
        for piece in batch:
            if piece.call.stage is Stage.WAITING:
                piece.call.stage = Stage.RUNNING
        self._tell()
        return batch

    def _run_timed(self, batch: list[Piece]) -> None:
        before = time.perf_counter()
        rows = sum(piece.rows for piece in batch)
        self._events.batch(rows, len({piece.pack_digest for piece in batch}))
        self._run_safely(batch)
        new = (time.perf_counter() - before) / rows
        self._seconds_per_row = NEWEST * new + (1 - NEWEST) * (self._seconds_per_row or new)

    def _run_safely(self, batch: list[Piece]) -> None:
        """Run a batch; if it fails, each piece alone, so that only what is at fault fails."""
        try:
            self._run(batch)
        except Exception as error:
            if len(batch) == 1:
                batch[0].made.set_exception(error)
                return
            logger.warning(
                "a batch of %d images failed (%s); each runs alone", len(batch), type(error).__name__
            )
            for piece in batch:
                if not piece.made.done():
                    self._run_safely([piece])

    def _waiting(self) -> int:
        return sum(call.stage is not Stage.RUNNING for call in self._calls)

    def _tell(self) -> None:
        self._events.queue(self._waiting())
