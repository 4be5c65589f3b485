"""The queue wakes workers through SQLite and Redis, and its absence is no failure."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest

from models_store.errors import BadInputError
from trainer.jobs.queue import JobQueue, open_queue

NO = Event()


@pytest.fixture(params=["sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "redis":
        return request.getfixturevalue("redis_url")
    return f"sqlite:///{tmp_path / 'deep' / 'queue.db'}"


@pytest.fixture
def queue(url: str) -> Iterator[JobQueue]:
    queue = open_queue(url)
    yield queue
    queue.close()


def test_a_wake_up_reaches_one_waiter_once(queue: JobQueue, url: str) -> None:
    another = open_queue(url)
    queue.wake("a" * 32)
    assert another.wait(30, NO)
    assert not queue.wait(0.3, NO)
    queue.close()
    queue.wake("b" * 32)
    assert another.wait(30, NO)
    another.close()


def test_a_wait_ends_when_the_worker_is_to_end(queue: JobQueue) -> None:
    ending = Event()
    ending.set()
    assert not queue.wait(600, ending)


@pytest.mark.parametrize("away", ["sqlite", "redis"])
def test_a_queue_that_is_away_is_said_once_and_comes_back(
    tmp_path: Path, away: str, caplog: pytest.LogCaptureFixture
) -> None:
    if away == "redis":
        queue = open_queue("redis://127.0.0.1:1/0")
    else:
        (tmp_path / "queue.db").write_bytes(b"this is no database, whatever it is called" * 200)
        queue = open_queue(f"sqlite:///{tmp_path / 'queue.db'}")
    with caplog.at_level(logging.WARNING):
        queue.wake("a" * 32)
        queue.wake("a" * 32)
        assert not queue.wait(0.3, NO)
    assert [record.message.split(" (")[0] for record in caplog.records] == ["the queue is away"]
    if away == "sqlite":
        (tmp_path / "queue.db").unlink()
        queue.wake("a" * 32)
        assert queue.wait(30, NO)
    queue.close()


def test_only_ids_are_in_it(tmp_path: Path) -> None:
    queue = open_queue(f"sqlite:///{tmp_path / 'queue.db'}")
    queue.wake("c" * 32)
    queue.close()
    connection = sqlite3.connect(tmp_path / "queue.db")
    assert connection.execute("SELECT data FROM task").fetchall() == [(b"c" * 32,)]
    connection.close()


@pytest.mark.parametrize("url", ["amqp://u:secret@host/", "nonsense", "sqlite://", "redis://host:port/0"])
def test_other_urls_are_refused_without_repeating_a_password(url: str) -> None:
    with pytest.raises(BadInputError, match="write sqlite:////path") as refused:
        open_queue(url)
    assert "secret" not in str(refused.value)
