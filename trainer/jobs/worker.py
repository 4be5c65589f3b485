"""A worker: takes jobs one after another, sees to those of dead workers, and to what policies want."""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections.abc import Callable
from functools import partial
from threading import Event
from uuid import uuid4

from models_store.errors import StudioError
from trainer.jobs.claims import Claims
from trainer.jobs.desk import Desk
from trainer.jobs.queue import JobQueue
from trainer.jobs.states import BrokenOff, CancelRequested, Job, JobLost, WorkerEnding
from trainer.jobs.triggers import Triggers
from trainer.labels.errors import StoreBusyError, StoreFullError
from trainer.tuning.state import RunHeldError

STALE_SECONDS = 30.0
# Of the time after which a silent worker counts as dead: so often it says that it lives.
BEAT_SHARE = 1 / 15
LOOK_SECONDS = 5.0
ATTEMPTS = 3
# How long the end of a job is tried to be written where the database is busy or full.
KEEP_TRYING = 5
# What was in the way may be gone by then.
PAUSE_SECONDS = 3.0
FULL = (errno.ENOSPC, errno.EDQUOT)
logger = logging.getLogger(__name__)


class Worker:
    """Works until it is asked to end.

    Args:
        claims: Jobs at work.
        queue: Wakes it.
        triggers: What policies want; None leaves that to other workers.
        run: Does a job, reports at its desk, and ends it well; what it raises ends it otherwise.
        beat_seconds, stale_seconds: How often a job's worker says that it lives, and after which silence
            its job goes to another.
        attempts: How often a job is begun before it fails.
        look_seconds: How often it looks for itself, besides being woken.
    """

    def __init__(
        self,
        *,
        claims: Claims,
        queue: JobQueue,
        triggers: Triggers | None,
        run: Callable[[Job, Desk], None],
        beat_seconds: float = STALE_SECONDS * BEAT_SHARE,
        stale_seconds: float = STALE_SECONDS,
        attempts: int = ATTEMPTS,
        look_seconds: float = LOOK_SECONDS,
    ):
        self._claims, self._queue, self._triggers, self._run = claims, queue, triggers, run
        self._beat_seconds, self._stale_seconds = beat_seconds, stale_seconds
        self._attempts, self._look_seconds = attempts, look_seconds
        self.name = f"{socket.gethostname()}/{os.getpid()}/{uuid4().hex[:8]}"

    def work(self, stopping: Event) -> None:
        """Work until asked to end; a job at work is handed back then."""
        logger.info("worker %s begins", self.name)
        while not stopping.is_set():
            try:
                worked = self.look(stopping)
            except StudioError as error:
                # The database is locked, full or away: what is to be done is still there later.
                logger.warning("worker %s could not look for jobs: %s", self.name, error)
                worked = False
            if not worked:
                self._queue.wait(self._look_seconds, stopping)
        logger.info("worker %s ends", self.name)

    def look(self, stopping: Event) -> bool:
        """Do what there is to do once; whether there was a job."""
        for job in self._claims.recover(stale_seconds=self._stale_seconds, attempts=self._attempts):
            logger.warning("job %s is queued again: its worker no longer answers", job)
            self._queue.wake(job)
        for job in [] if self._triggers is None else self._triggers.pull():
            logger.info("job %s is queued by its policy", job)
            self._queue.wake(job)
        # One name per job taken: what is left of an earlier hold finds nothing of its own to write to.
        owner = f"{self.name}/{uuid4().hex[:8]}"
        claimed = self._claims.claim(owner)
        if claimed is None:
            return False
        self._do(claimed, owner, stopping)
        return True

    def _do(self, job: Job, owner: str, stopping: Event) -> None:
        logger.info("job %s of %s begins, attempt %d", job.id, job.dataset, job.attempt)
        desk = Desk(
            self._claims,
            job,
            owner,
            beat_seconds=self._beat_seconds,
            stale_seconds=self._stale_seconds,
            stopping=stopping.is_set,
        )
        end: Callable[[], None] | None = None
        with desk:
            try:
                self._run(job, desk)
            except JobLost as lost:
                logger.warning("job %s is left: %s", job.id, lost)
            except CancelRequested:
                end = partial(self._claims.cancelled, job.id, owner)
            except WorkerEnding as ending:
                end = partial(self._claims.hand_back, job.id, owner, str(ending), counted=False)
            except Exception as error:
                end = self._after(error, job, owner)
            if end is not None:
                self._write(job, end)
        logger.info("job %s is done with", job.id)

    def _after(self, error: Exception, job: Job, owner: str) -> Callable[[], None]:
        """How a job ends that could not be done."""
        # The second: a worker that counts as dead is still in a long step of this very run.
        if isinstance(error, StoreBusyError | RunHeldError) and job.attempt < self._attempts:
            Event().wait(PAUSE_SECONDS)
            return partial(self._claims.hand_back, job.id, owner, str(error), counted=True)
        if not isinstance(error, StudioError):
            logger.error("job %s failed", job.id, exc_info=error)
        return partial(self._claims.fail, job.id, owner, cause_of(error))

    def _write(self, job: Job, end: Callable[[], None]) -> None:
        """Write a job's end, with patience; what cannot be written, others see to once it counts as stale."""
        for _ in range(KEEP_TRYING):
            try:
                end()
                return
            except BrokenOff as lost:
                logger.warning("job %s: %s", job.id, lost)
                return
            except (StoreBusyError, StoreFullError) as error:
                logger.warning("job %s: its end could not be written: %s", job.id, error)
                Event().wait(1.0)


def cause_of(error: Exception) -> str:
    """Why a job failed, for people."""
    if isinstance(error, StudioError):
        return str(error)
    if isinstance(error, OSError) and error.errno in FULL:
        return f"the disk is full ({error.filename or 'while writing'}); free some space and retry the job"
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return f"memory ran out: {error}"
    return f"unexpected {type(error).__name__}: {error}; the worker's log has the details"
