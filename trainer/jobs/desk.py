"""Where a job at work reports, and hears that it should end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Any, Self

from models_store.errors import StudioError
from trainer.jobs.claims import Claims
from trainer.jobs.states import CancelRequested, Job, JobLost, Stage, WorkerEnding

# Of the time after which a silent worker counts as dead: by then it must have stopped by itself.
LEASE_SHARE = 0.7
logger = logging.getLogger(__name__)


class Desk:
    """Beside a running job, a thread says that its worker lives and how far it is.

    Training never waits for the database: what it tells is written with the next beat. A worker that could
    not say so for too long must take it that another has its job, and stops.

    Args:
        claims: Jobs at work.
        job: The job.
        owner: Whose it is.
        beat_seconds: Between two beats.
        stale_seconds: After which silence others take the job.
        stopping: Whether the worker was asked to end.
    """

    def __init__(
        self,
        claims: Claims,
        job: Job,
        owner: str,
        *,
        beat_seconds: float,
        stale_seconds: float,
        stopping: Callable[[], bool],
    ):
        self.claims, self.job, self.owner = claims, job, owner
        self._beat_seconds, self._lease = beat_seconds, stale_seconds * LEASE_SHARE
        self._stopping = stopping
        self._lock, self._done = Lock(), Event()
        self._writing = Lock()
        self._progress: dict[str, Any] = dict(job.progress)
        self._changed = False
        self._events: list[tuple[str, Mapping[str, Any]]] = []
        self._cancel = self._lost = False
        self._heard = time.monotonic()
        self._thread = Thread(target=self._beats, name=f"beats of {job.id}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def stage(self, stage: Stage, **about: Any) -> None:
        """A new stage begins; written now.

        Raises:
            BrokenOff: The job ends here.
        """
        with self._lock:
            self._progress, self._changed = {"stage": stage, **about}, True
        self.beat()
        self.check()

    def progress(self, **values: Any) -> None:
        """How far the stage is.

        Raises:
            BrokenOff: The job ends here.
        """
        with self._lock:
            self._progress |= values
            self._changed = True
        self.check()

    def log(self, text: str) -> None:
        """Something a person who follows the job should read."""
        logger.info("job %s: %s", self.job.id, text)
        with self._lock:
            self._events.append(("log", {"text": text}))

    def check(self) -> None:
        """Raise what ends the job, if anything does.

        Raises:
            JobLost: It is another's, or may be by now.
            CancelRequested: Somebody cancelled it.
            WorkerEnding: The worker was asked to end.
        """
        if self._lost or time.monotonic() - self._heard > self._lease:
            raise JobLost(f"job {self.job.id} is no longer certain to be of {self.owner}")
        if self._cancel:
            raise CancelRequested(f"job {self.job.id} was cancelled")
        if self._stopping():
            raise WorkerEnding("its worker was asked to end")

    def beat(self) -> None:
        """Write what there is to write, and hear whether the job is to end."""
        with self._writing:
            with self._lock:
                events, self._events = self._events, []
                progress = dict(self._progress) if self._changed else None
                self._changed = False
            began = time.monotonic()
            try:
                self._cancel = self.claims.beat(self.job.id, self.owner, progress=progress, events=events)
                # When it was sent, not when it came back: others reckon from what they read.
                self._heard = began
                return
            except JobLost:
                self._lost = True
            except StudioError as error:
                logger.warning("job %s: progress could not be written: %s", self.job.id, error)
            with self._lock:
                self._events = events + self._events
                self._changed = self._changed or progress is not None

    def _beats(self) -> None:
        while not self._done.wait(self._beat_seconds) and not self._lost:
            try:
                self.beat()
            except Exception:
                # The thread must outlive whatever a driver raises; without beats the job ends at its lease.
                logger.exception("job %s: a beat failed", self.job.id)
