"""The states of jobs, on both databases; real threads and connections compete for them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError

from trainer.jobs.claims import Claims
from trainer.jobs.records import Jobs
from trainer.jobs.rows import succeed
from trainer.jobs.states import JobLost, JobState, Trigger
from trainer.labels.errors import ConflictError, UnknownLabelsError
from trainer.labels.store import LabelStore, now
from trainer.labels.tables import JobRow


def ask(jobs: Jobs, dataset: str = "toys", **request: object) -> str:
    return jobs.request(dataset, by="mk", request=request)[0].id


def kinds(jobs: Jobs, job: str) -> list[str]:
    return [event.kind for event in jobs.events(job)]


def grow_stale(store: LabelStore, job: str) -> None:
    with store.database.writing() as session:
        session.execute(
            update(JobRow).where(JobRow.id == job).values(heartbeat_at=now() - timedelta(seconds=60))
        )


class TestAsking:
    def test_a_job_is_queued_and_tells_who_asked_and_why(self, jobs: Jobs) -> None:
        job, new = jobs.request("toys", by="mk", request={"reason": "try", "budget_seconds": 5})
        assert new
        assert job == jobs.get(job.id)
        assert (job.state, job.requested_by, job.trigger, job.attempt) == ("queued", "mk", "request", 0)
        assert job.request == {"reason": "try", "budget_seconds": 5}
        event = jobs.events(job.id)[0]
        assert (event.kind, event.data) == ("queued", {"by": "mk", "trigger": "request"})

    def test_one_waits_per_dataset_and_asking_again_gives_it(self, jobs: Jobs) -> None:
        first = ask(jobs)
        assert jobs.request("toys", by="another", request={"reason": "more"}) == (jobs.get(first), False)
        assert jobs.request("toys", by="policy", trigger=Trigger.LABELS, request={})[1] is False
        assert ask(jobs, "bones") != first
        with pytest.raises(ConflictError, match=f"job {first} of toys waits already"):
            ask(jobs, budget_seconds=9)

    def test_many_who_ask_at_once_get_the_same_job(self, jobs: Jobs) -> None:
        start = Barrier(6)

        def one(_: int) -> str:
            start.wait(30)
            return ask(jobs)

        with ThreadPoolExecutor(6) as pool:
            assert len(set(pool.map(one, range(6)))) == 1

    def test_unknown_names(self, jobs: Jobs) -> None:
        with pytest.raises(UnknownLabelsError, match="no labelled dataset 'none'"):
            ask(jobs, "none")
        with pytest.raises(UnknownLabelsError, match="no job"):
            jobs.get("0" * 32)
        with pytest.raises(UnknownLabelsError):
            jobs.newest(dataset="none")

    def test_the_newest_are_listed_first_by_dataset_and_state(self, jobs: Jobs, claims: Claims) -> None:
        first, second = ask(jobs), ask(jobs, "bones")
        claims.claim("w")
        assert [job.id for job in jobs.newest()] == [second, first]
        assert [job.id for job in jobs.newest(dataset="toys")] == [first]
        assert [job.id for job in jobs.newest(state=JobState.QUEUED)] == [second]
        assert [job.id for job in jobs.newest(limit=1)] == [second]


class TestClaims:
    def test_the_oldest_is_taken_and_a_dataset_has_one_at_work(self, jobs: Jobs, claims: Claims) -> None:
        first = ask(jobs)
        taken = claims.claim("w1")
        assert taken is not None
        assert (taken.id, taken.state, taken.attempt) == (first, "running", 1)
        second, bones = ask(jobs), ask(jobs, "bones")
        assert second != first
        other = claims.claim("w2")
        assert other is not None
        assert other.id == bones
        assert claims.claim("w3") is None
        claims.fail(first, "w1", "no reason")
        again = claims.claim("w3")
        assert again is not None
        assert again.id == second

    def test_of_many_workers_one_gets_a_job(self, jobs: Jobs, claims: Claims) -> None:
        for _ in range(5):
            job = ask(jobs)
            start = Barrier(6)

            def one(number: int, start: Barrier = start) -> bool:
                start.wait(30)
                return claims.claim(f"w{number}") is not None

            with ThreadPoolExecutor(6) as pool:
                assert sorted(pool.map(one, range(6))) == [False] * 5 + [True]
            running = jobs.newest(state=JobState.RUNNING)
            assert [each.id for each in running] == [job]
            jobs.cancel(job, by="mk")
            grow_stale_and_recover(claims, job)
            assert jobs.get(job).state == JobState.CANCELLED

    def test_the_database_itself_refuses_a_second_one(
        self, store: LabelStore, jobs: Jobs, claims: Claims
    ) -> None:
        ask(jobs)
        claims.claim("w")
        second = ask(jobs)
        with pytest.raises(IntegrityError), store.database.writing() as session:
            session.execute(update(JobRow).where(JobRow.id == second).values(state="running"))

    def test_beats_write_progress_and_hear_of_cancelling(self, jobs: Jobs, claims: Claims) -> None:
        job = ask(jobs)
        claims.claim("w")
        assert claims.beat(job, "w") is False
        heard = claims.beat(
            job, "w", progress={"stage": "tuning", "step": 3}, events=[("log", {"text": "x"})]
        )
        assert heard is False
        assert jobs.get(job).progress == {"stage": "tuning", "step": 3}
        jobs.cancel(job, by="mk")
        assert claims.beat(job, "w") is True
        claims.cancelled(job, "w")
        found = jobs.get(job)
        assert (found.state, found.cause) == ("cancelled", "cancelled on request")
        assert kinds(jobs, job) == ["queued", "running", "log", "progress", "cancel requested", "cancelled"]
        after = jobs.events(job)[2].id
        assert next(event.kind for event in jobs.events(job, after)) == "progress"

    def test_another_s_job_cannot_be_written_to(self, jobs: Jobs, claims: Claims) -> None:
        job = ask(jobs)
        claims.claim("w1")
        for write in (
            lambda: claims.beat(job, "w2"),
            lambda: claims.fail(job, "w2", "x"),
            lambda: claims.cancelled(job, "w2"),
            lambda: claims.hand_back(job, "w2", "x", counted=False),
        ):
            with pytest.raises(JobLost):
                write()
        assert jobs.get(job).state == JobState.RUNNING

    def test_success_keeps_the_result(self, jobs: Jobs, claims: Claims) -> None:
        job = ask(jobs)
        claims.claim("w")
        with claims.owned(job, "w") as (session, row):
            succeed(session, row, {"version": "v0001", "promoted": True})
        found = jobs.get(job)
        assert (found.state, found.result) == ("succeeded", {"version": "v0001", "promoted": True})
        assert found.ended_at is not None
        for change in (jobs.cancel, jobs.retry):
            with pytest.raises(ConflictError):
                change(job, by="mk")

    def test_what_is_handed_back_does_not_count_unless_said(self, jobs: Jobs, claims: Claims) -> None:
        job = ask(jobs)
        claims.claim("w")
        claims.hand_back(job, "w", "its worker was asked to end", counted=False)
        assert (jobs.get(job).state, jobs.get(job).attempt) == ("queued", 0)
        claims.claim("w")
        claims.hand_back(job, "w", "the database was busy", counted=True)
        assert jobs.get(job).attempt == 1


def grow_stale_and_recover(claims: Claims, job: str, attempts: int = 3) -> list[str]:
    with claims.database.writing() as session:
        moment = now() - timedelta(seconds=60)
        session.execute(update(JobRow).where(JobRow.id == job).values(heartbeat_at=moment))
    return claims.recover(stale_seconds=30, attempts=attempts)


class TestDeadWorkers:
    def test_their_jobs_are_queued_again_and_fail_in_the_end(self, jobs: Jobs, claims: Claims) -> None:
        job = ask(jobs)
        for attempt in (1, 2):
            claims.claim("w")
            assert claims.recover(stale_seconds=30, attempts=2) == []
            assert grow_stale_and_recover(claims, job, 2) == ([job] if attempt == 1 else [])
        found = jobs.get(job)
        assert found.state == JobState.FAILED
        assert found.cause is not None
        assert "stopped answering" in found.cause
        assert "attempt 2" in found.cause
        with pytest.raises(JobLost):
            claims.beat(job, "w")

    def test_one_that_was_to_be_cancelled_is(self, jobs: Jobs, claims: Claims) -> None:
        job = ask(jobs)
        claims.claim("w")
        jobs.cancel(job, by="mk")
        grow_stale_and_recover(claims, job)
        assert jobs.get(job).state == JobState.CANCELLED


class TestCancelAndRetry:
    def test_a_waiting_job_ends_at_once(self, jobs: Jobs, claims: Claims) -> None:
        job = ask(jobs)
        assert jobs.cancel(job, by="mk").state == JobState.CANCELLED
        assert jobs.get(job).cause == "cancelled by mk"
        assert claims.claim("w") is None

    def test_a_failed_one_is_queued_again_from_the_start(self, jobs: Jobs, claims: Claims) -> None:
        job = ask(jobs)
        claims.claim("w")
        with pytest.raises(ConflictError, match="is running"):
            jobs.retry(job, by="mk")
        claims.fail(job, "w", "the disk is full")
        again = jobs.retry(job, by="mk")
        assert (again.state, again.attempt, again.cause, again.ended_at) == ("queued", 0, None, None)
        assert kinds(jobs, job) == ["queued", "running", "failed", "queued"]

    def test_not_beside_one_that_waits(self, jobs: Jobs) -> None:
        job = ask(jobs)
        jobs.cancel(job, by="mk")
        other = ask(jobs)
        with pytest.raises(ConflictError, match=other):
            jobs.retry(job, by="mk")
