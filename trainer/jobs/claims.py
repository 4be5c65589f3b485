"""Jobs as workers hold them: no statement changes a job that is not, or no longer, the worker's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from sqlalchemy import CursorResult, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from trainer.jobs.rows import end, found_jobs, jobs_with_names, locked_job, queue_again, tell
from trainer.jobs.states import Job, JobLost, JobState, Stage
from trainer.labels.database import Database
from trainer.labels.store import now
from trainer.labels.tables import JobRow


class Claims:
    """Jobs at work.

    Args:
        database: Where they are.
    """

    def __init__(self, database: Database):
        self.database = database

    def claim(self, owner: str) -> Job | None:
        """Take the oldest job whose dataset has none at work; None if there is none."""
        busy = select(JobRow.dataset_id).where(JobRow.state == JobState.RUNNING)
        oldest = (
            select(JobRow.id)
            .where(JobRow.state == JobState.QUEUED, JobRow.dataset_id.not_in(busy))
            .order_by(JobRow.created_at, JobRow.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        try:
            with self.database.writing() as session:
                job = session.scalar(oldest)
                if job is None:
                    return None
                moment = now()
                taken = session.execute(
                    update(JobRow)
                    .where(JobRow.id == job, JobRow.state == JobState.QUEUED)
                    .values(
                        state=JobState.RUNNING,
                        owner=owner,
                        attempt=JobRow.attempt + 1,
                        heartbeat_at=moment,
                        started_at=moment,
                        progress={"stage": Stage.PREPARING},
                    )
                )
                if not _changed(taken):
                    return None
                attempt = session.scalar(select(JobRow.attempt).where(JobRow.id == job))
                tell(session, job, JobState.RUNNING, attempt=attempt)
        except IntegrityError:
            # Another worker began one of the same dataset at this very moment: the index refused the second.
            return None
        with self.database.reading() as session:
            return found_jobs(session, jobs_with_names().where(JobRow.id == job))[0]

    @contextmanager
    def owned(self, job: str, owner: str) -> Iterator[tuple[Session, JobRow]]:
        """A writing session with a job that is this worker's, and stays so until it ends.

        Raises:
            JobLost: It is another's by now.
        """
        with self.database.writing() as session:
            row = locked_job(session, job)
            if row.state != JobState.RUNNING or row.owner != owner:
                raise JobLost(f"job {job} is no longer of {owner}")
            yield session, row

    def beat(
        self,
        job: str,
        owner: str,
        *,
        progress: Mapping[str, Any] | None = None,
        events: Sequence[tuple[str, Mapping[str, Any]]] = (),
    ) -> bool:
        """Say that the worker lives and how far it is; whether somebody wants the job to end.

        Raises:
            JobLost: The job is another's by now.
        """
        with self.owned(job, owner) as (session, row):
            row.heartbeat_at = now()
            for kind, data in events:
                tell(session, job, kind, **data)
            if progress is not None:
                row.progress = dict(progress)
                tell(session, job, "progress", **progress)
            return row.cancel_requested

    def fail(self, job: str, owner: str, cause: str) -> None:
        """A job failed, and why."""
        with self.owned(job, owner) as (session, row):
            end(session, row, JobState.FAILED, cause=cause)

    def cancelled(self, job: str, owner: str) -> None:
        """A job was broken off because somebody asked for it."""
        with self.owned(job, owner) as (session, row):
            end(session, row, JobState.CANCELLED, cause="cancelled on request")

    def hand_back(self, job: str, owner: str, why: str, *, counted: bool) -> None:
        """Let another worker go on with a job.

        Args:
            job: The job.
            owner: Whose it is.
            why: For people.
            counted: Whether that it was begun counts as an attempt: a bound on what fails again and again.
        """
        with self.owned(job, owner) as (session, row):
            if not counted:
                row.attempt -= 1
            queue_again(session, row, why)

    def recover(self, *, stale_seconds: float, attempts: int) -> list[str]:
        """Queue jobs again whose worker no longer answers, or let them fail after so many attempts.

        Returns:
            The jobs that were queued again.
        """
        limit = now() - timedelta(seconds=stale_seconds)
        stale = select(JobRow.id).where(JobRow.state == JobState.RUNNING, JobRow.heartbeat_at < limit)
        with self.database.reading() as session:
            found = list(session.scalars(stale))
        again = []
        for job in found:
            with self.database.writing() as session:
                row = session.scalars(select(JobRow).where(JobRow.id == job).with_for_update()).one()
                if row.state != JobState.RUNNING or row.heartbeat_at is None or row.heartbeat_at >= limit:
                    continue
                stage = row.progress.get("stage", "starting")
                why = (
                    f"its worker stopped answering at {row.heartbeat_at:%Y-%m-%d %H:%M:%S} UTC while {stage}"
                )
                if row.attempt >= attempts and not row.cancel_requested:
                    end(session, row, JobState.FAILED, cause=f"{why}; that was attempt {row.attempt}")
                else:
                    queue_again(session, row, why)
                    again.append(job)
        return again


def _changed(done: Any) -> bool:
    return isinstance(done, CursorResult) and done.rowcount == 1
