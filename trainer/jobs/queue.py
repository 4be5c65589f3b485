"""The queue that wakes workers. What is to be done is in the database; what is lost here costs a wait."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Event, Lock

from huey.storage import BaseStorage, RedisStorage, SqliteStorage
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from models_store.errors import BadInputError

NAME = "tunevlseg_jobs"
LOOK_SECONDS = 0.2
# A wake-up that cannot be sent soon is not worth the wait.
BUSY_SECONDS = 2.0
ACCEPTED = "write sqlite:////path/queue.db or redis://host:6379/0"
logger = logging.getLogger(__name__)


class JobQueue:
    """Tells workers that there is something to do; safe to share between threads.

    Only ids of jobs are in it, so whoever can write to the queue can make a worker look, and nothing else.
    A queue that is away is no failure: workers look into the database by themselves now and then.

    Args:
        open_storage: Opens one of huey's storages.
        failures: What it raises where the queue is away.
    """

    def __init__(self, open_storage: Callable[[], BaseStorage], failures: tuple[type[Exception], ...]):
        self._open, self._failures = open_storage, failures
        self._lock = Lock()
        self._storage: BaseStorage | None = None
        self._told = False

    def wake(self, job: str) -> None:
        """Let a worker look for this job."""
        try:
            self._opened().enqueue(job.encode())
            self._told = False
        except self._failures as error:
            self._away(error)

    def wait(self, seconds: float, stopping: Event) -> bool:
        """Wait for a wake-up, but not longer than so; whether there was one.

        Args:
            seconds: How long.
            stopping: Ends the wait.
        """
        waited = 0.0
        while waited < seconds and not stopping.is_set():
            try:
                if self._opened().dequeue() is not None:
                    return True
                self._told = False
            except self._failures as error:
                self._away(error)
            stopping.wait(LOOK_SECONDS)
            waited += LOOK_SECONDS
        return False

    def close(self) -> None:
        """Let go of its connections; the next use makes new ones."""
        with self._lock:
            storage, self._storage = self._storage, None
        if storage is not None:
            with suppress(*self._failures):
                storage.close()
                if isinstance(storage, RedisStorage):
                    storage.pool.disconnect()

    def _opened(self) -> BaseStorage:
        with self._lock:
            if self._storage is None:
                self._storage = self._open()
            return self._storage

    def _away(self, error: Exception) -> None:
        if not self._told:
            logger.warning("the queue is away (%s); workers look for jobs by themselves", error)
        self._told = True
        self.close()


def open_queue(url: str) -> JobQueue:
    """A queue by URL; nothing is connected before it is used.

    Args:
        url: ``sqlite:////path/queue.db`` or ``redis://host:6379/0``.

    Raises:
        BadInputError: The URL is neither, or Redis' package is not installed.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise BadInputError(f"the queue's URL does not read; {ACCEPTED}") from error
    if parsed.drivername == "sqlite" and parsed.database:
        path = Path(parsed.database)
        return JobQueue(lambda: _sqlite(path), (sqlite3.Error, OSError))
    if parsed.drivername not in ("redis", "rediss"):
        # Not the URL itself: it may hold a password.
        raise BadInputError(f"{parsed.drivername!r} is no queue this service uses; {ACCEPTED}")
    return _redis(url)


def _sqlite(path: Path) -> SqliteStorage:
    path.parent.mkdir(parents=True, exist_ok=True)
    return SqliteStorage(NAME, filename=str(path), timeout=BUSY_SECONDS)


def _redis(url: str) -> JobQueue:
    try:
        from redis import ConnectionPool  # noqa: PLC0415 - an optional dependency
        from redis.backoff import NoBackoff  # noqa: PLC0415
        from redis.exceptions import RedisError  # noqa: PLC0415
        from redis.retry import Retry  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise BadInputError(
            "a queue in Redis needs the package redis: pip install 'tunevlseg-studio[redis]'"
        ) from error
    limits = {"socket_timeout": BUSY_SECONDS, "socket_connect_timeout": BUSY_SECONDS}
    try:
        pool = ConnectionPool.from_url(url, retry=Retry(NoBackoff(), 0), **limits)
    except ValueError as error:
        raise BadInputError(f"the queue's URL does not read ({error}); {ACCEPTED}") from error
    return JobQueue(lambda: RedisStorage(NAME, blocking=False, connection_pool=pool), (RedisError, OSError))
