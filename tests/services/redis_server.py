"""A real Redis, Debian's, that keeps nothing on disk."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from services.processes import DEADLINE_SECONDS, dying_with_us, running


def missing() -> str | None:
    """What of Redis is not installed, or None."""
    return None if shutil.which("redis-server") else "Redis is not installed (Debian: redis-server)"


def url(port: int) -> str:
    """The address of the first database."""
    return f"redis://127.0.0.1:{port}/0"


def client(port: int) -> redis.Redis:
    """A client that fails at once where no Redis listens."""
    return redis.Redis(port=port, socket_timeout=DEADLINE_SECONDS, retry=Retry(NoBackoff(), 0))


@contextmanager
def running_redis(folder: Path) -> Iterator[int]:
    """Start an empty Redis with its log in a folder and give its port; ends with the block."""

    def command(port: int) -> list[str]:
        options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
        return dying_with_us(["redis-server", *options, "--dir", str(folder)], by=signal.SIGTERM)

    with running(command, answers=_answers, log=folder / "redis.log", end=signal.SIGTERM) as port:
        yield port


def empty(port: int) -> None:
    """Remove all keys of all databases."""
    with client(port) as asked:
        asked.flushall()


def _answers(port: int) -> bool:
    try:
        with client(port) as asked:
            return bool(asked.ping())
    except redis.ConnectionError:
        return False
