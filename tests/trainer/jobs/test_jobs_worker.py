"""How a worker ends jobs, with stand-ins for what a job does; the database is real."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread

import pytest
from job_parts import store_at, wait_until

from models_store.errors import BadInputError
from trainer.jobs.claims import Claims
from trainer.jobs.desk import Desk
from trainer.jobs.queue import JobQueue
from trainer.jobs.records import Jobs
from trainer.jobs.rows import succeed
from trainer.jobs.states import Job, JobLost, JobState, Stage
from trainer.jobs.worker import Worker
from trainer.labels.errors import StoreBusyError
from trainer.labels.store import LabelStore
from trainer.tuning.state import RunHeldError


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LabelStore]:
    """One database is enough here: what differs between them is tested with the records."""
    store = store_at(tmp_path)
    store.create("toys", by="ann")
    yield store
    store.database.close()


@pytest.fixture
def job(jobs: Jobs) -> str:
    return jobs.request("toys", by="mk", request={})[0].id


Run = Callable[[Job, Desk], None]


@pytest.fixture
def worker(claims: Claims, queue: JobQueue) -> Callable[[Run], Worker]:
    def made(run: Run, attempts: int = 2, stale_seconds: float = 60) -> Worker:
        return Worker(
            claims=claims,
            queue=queue,
            triggers=None,
            run=run,
            beat_seconds=0.05,
            stale_seconds=stale_seconds,
            attempts=attempts,
            look_seconds=600,
        )

    return made


def until_broken_off(_: Job, desk: Desk) -> None:
    """A job that takes steps until it is told to end."""
    desk.stage(Stage.TUNING)
    for step in range(100_000):
        desk.progress(step=step)
        Event().wait(0.01)
    raise AssertionError("nobody ended it")


def well(job: Job, desk: Desk) -> None:
    with desk.claims.owned(job.id, desk.owner) as (session, row):
        succeed(session, row, {"version": "v0001"})


def test_a_wake_up_is_enough_and_work_ends_when_asked(
    jobs: Jobs, queue: JobQueue, worker: Callable[..., Worker]
) -> None:
    ending = Event()
    thread = Thread(target=worker(well).work, args=(ending,))
    thread.start()
    asked = jobs.request("toys", by="mk", request={})[0].id
    queue.wake(asked)
    wait_until(lambda: jobs.get(asked).state is JobState.SUCCEEDED, "a job by wake-up")
    ending.set()
    thread.join(60)
    assert not thread.is_alive()


def test_a_job_that_the_queue_lost_is_found_in_the_database(
    jobs: Jobs, job: str, worker: Callable[..., Worker]
) -> None:
    assert worker(well).look(Event())
    assert jobs.get(job).state is JobState.SUCCEEDED
    assert not worker(well).look(Event())


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (BadInputError("all masks are empty"), "all masks are empty"),
        (OSError(errno.ENOSPC, "No space left on device", "/data/runs/x"), "the disk is full (/data/runs/x)"),
        (MemoryError("17 GB"), "memory ran out: 17 GB"),
        (
            ZeroDivisionError("division by zero"),
            "unexpected ZeroDivisionError: division by zero; the worker's",
        ),
    ],
)
def test_what_fails_says_why(
    jobs: Jobs, job: str, worker: Callable[..., Worker], error: Exception, cause: str
) -> None:
    def fails(_: Job, __: Desk) -> None:
        raise error

    worker(fails).look(Event())
    found = jobs.get(job)
    assert found.state is JobState.FAILED
    assert found.cause is not None
    assert found.cause.startswith(cause)


@pytest.mark.parametrize("kind", [StoreBusyError, RunHeldError])
def test_what_may_pass_is_tried_again_so_often(
    jobs: Jobs, job: str, worker: Callable[..., Worker], kind: type[Exception]
) -> None:
    def busy(_: Job, __: Desk) -> None:
        raise kind("the database is locked")

    made = worker(busy, attempts=2)
    made.look(Event())
    assert (jobs.get(job).state, jobs.get(job).attempt) == (JobState.QUEUED, 1)
    made.look(Event())
    assert (jobs.get(job).state, jobs.get(job).cause) == (JobState.FAILED, "the database is locked")


def test_cancelling_is_heard_at_the_next_step(jobs: Jobs, job: str, worker: Callable[..., Worker]) -> None:
    thread = Thread(target=worker(until_broken_off).look, args=(Event(),))
    thread.start()
    wait_until(lambda: jobs.get(job).progress.get("step", 0) > 2, "some steps")
    assert jobs.get(job).progress["stage"] == "tuning"
    jobs.cancel(job, by="mk")
    thread.join(60)
    assert jobs.get(job).state is JobState.CANCELLED


def test_a_worker_that_is_to_end_hands_back(jobs: Jobs, job: str, worker: Callable[..., Worker]) -> None:
    ending = Event()
    thread = Thread(target=worker(until_broken_off).work, args=(ending,))
    thread.start()
    wait_until(lambda: jobs.get(job).progress.get("step", 0) > 2, "some steps")
    ending.set()
    thread.join(60)
    assert (jobs.get(job).state, jobs.get(job).attempt) == (JobState.QUEUED, 0)
    assert jobs.events(job)[-1].data["why"] == "its worker was asked to end"


def test_one_whose_job_is_another_s_writes_nothing_more(
    jobs: Jobs, claims: Claims, job: str, worker: Callable[..., Worker]
) -> None:
    left: list[BaseException] = []

    def watched(taken: Job, desk: Desk) -> None:
        try:
            until_broken_off(taken, desk)
        except JobLost as lost:
            left.append(lost)
            raise

    thread = Thread(target=worker(watched).look, args=(Event(),))
    thread.start()
    wait_until(lambda: jobs.get(job).progress.get("step", 0) > 2, "some steps")
    # As if it had been silent for too long, by a clock that is ahead of its next beats: others take its job.
    assert claims.recover(stale_seconds=-60, attempts=9) == [job]
    again = claims.claim("another")
    assert again is not None
    thread.join(60)
    assert len(left) == 1
    assert jobs.get(job).state is JobState.RUNNING
    assert claims.beat(job, "another") is False


def test_one_that_cannot_reach_its_database_stops_before_others_begin(
    claims: Claims, job: str, worker: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[BaseException] = []

    def away(*_: object, **__: object) -> bool:
        raise StoreBusyError("the database is away")

    def watched(taken: Job, desk: Desk) -> None:
        monkeypatch.setattr(claims, "beat", away)
        try:
            until_broken_off(taken, desk)
        except JobLost as lost:
            left.append(lost)
            raise

    worker(watched, stale_seconds=1).look(Event())
    assert len(left) == 1
