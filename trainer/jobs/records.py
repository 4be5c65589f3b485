"""Jobs as those see them who ask for them: queue, look, cancel, try again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from sqlalchemy import select

from trainer.jobs.rows import end, found_jobs, job_of, jobs_with_names, locked_job, tell
from trainer.jobs.states import Job, JobEvent, JobState, Trigger
from trainer.labels.database import Database
from trainer.labels.errors import ConflictError, UnknownLabelsError
from trainer.labels.store import check_who, dataset_row, now
from trainer.labels.tables import DatasetRow, JobEventRow, JobRow

LISTED = 100


class Jobs:
    """The jobs of one database.

    Args:
        database: Where they are.
    """

    def __init__(self, database: Database):
        self.database = database

    def request(
        self, dataset: str, *, by: str, trigger: Trigger = Trigger.REQUEST, request: Mapping[str, Any]
    ) -> tuple[Job, bool]:
        """Queue a job unless one waits already: that one will tune on whatever is accepted by then.

        Args:
            dataset: The dataset.
            by: Who asks.
            trigger: Why.
            request: What is asked for beyond the policy.

        Returns:
            The job that waits, and whether it is new.

        Raises:
            UnknownLabelsError: There is no such dataset.
            ConflictError: One waits that was asked for otherwise.
        """
        check_who(by)
        with self.database.writing() as session:
            # Whoever asks for a job holds the dataset, so that there is never a second one in waiting.
            row = dataset_row(session, dataset, lock=True)
            waiting = session.scalars(
                select(JobRow).where(JobRow.dataset_id == row.id, JobRow.state == JobState.QUEUED)
            ).first()
            if waiting is not None:
                if trigger is Trigger.REQUEST and _wishes(waiting.request) != _wishes(request):
                    raise ConflictError(
                        f"job {waiting.id} of {dataset} waits already and was asked for otherwise; "
                        "cancel it, or ask again once it runs"
                    )
                return job_of(waiting, dataset, None), False
            job = JobRow(
                id=uuid4().hex,
                dataset_id=row.id,
                trigger=trigger,
                requested_by=by,
                request=dict(request),
                state=JobState.QUEUED,
                created_at=now(),
                progress={},
                result={},
            )
            session.add(job)
            session.flush()
            tell(session, job.id, JobState.QUEUED, by=by, trigger=trigger)
            return job_of(job, dataset, None), True

    def get(self, job: str) -> Job:
        """A job.

        Raises:
            UnknownLabelsError: There is none of that id.
        """
        with self.database.reading() as session:
            found = found_jobs(session, jobs_with_names().where(JobRow.id == job))
        if not found:
            raise UnknownLabelsError(f"no job {job[:64]!r}")
        return found[0]

    def newest(
        self, *, dataset: str | None = None, state: JobState | None = None, limit: int = LISTED
    ) -> list[Job]:
        """Jobs, newest first.

        Raises:
            UnknownLabelsError: There is no such dataset.
        """
        wanted = jobs_with_names().order_by(JobRow.created_at.desc(), JobRow.id).limit(limit)
        with self.database.reading() as session:
            if dataset is not None:
                wanted = wanted.where(JobRow.dataset_id == dataset_row(session, dataset).id)
            if state is not None:
                wanted = wanted.where(JobRow.state == state)
            return found_jobs(session, wanted)

    def events(self, job: str, after: int = 0, limit: int = 1000) -> list[JobEvent]:
        """What happened in a job after an event of it, in order."""
        wanted = select(JobEventRow).where(JobEventRow.job_id == job, JobEventRow.id > after)
        with self.database.reading() as session:
            rows = session.scalars(wanted.order_by(JobEventRow.id).limit(limit))
            return [JobEvent(row.id, row.kind, row.data, row.at) for row in rows]

    def cancel(self, job: str, *, by: str) -> Job:
        """End a waiting job now, and a running one at its next step.

        Raises:
            UnknownLabelsError: There is no such job.
            ConflictError: It has ended.
        """
        check_who(by)
        with self.database.writing() as session:
            row = locked_job(session, job)
            if row.state == JobState.QUEUED:
                end(session, row, JobState.CANCELLED, cause=f"cancelled by {by}")
            elif row.state == JobState.RUNNING:
                if not row.cancel_requested:
                    row.cancel_requested = True
                    tell(session, job, "cancel requested", by=by)
            else:
                raise ConflictError(f"job {job} has {row.state} already; there is nothing to cancel")
        return self.get(job)

    def retry(self, job: str, *, by: str) -> Job:
        """Queue a job again that failed or was cancelled; it takes what is accepted by then.

        On the same data it goes on where tuning was.

        Raises:
            UnknownLabelsError: There is no such job.
            ConflictError: It did not fail, or another of its dataset waits.
        """
        check_who(by)
        with self.database.writing() as session:
            row = locked_job(session, job)
            if row.state not in (JobState.FAILED, JobState.CANCELLED):
                raise ConflictError(f"job {job} is {row.state}; only what failed or was cancelled is retried")
            session.scalars(select(DatasetRow).where(DatasetRow.id == row.dataset_id).with_for_update()).one()
            waiting = session.scalar(
                select(JobRow.id).where(JobRow.dataset_id == row.dataset_id, JobRow.state == JobState.QUEUED)
            )
            if waiting is not None:
                raise ConflictError(f"job {waiting} of the same dataset waits already")
            row.state, row.attempt, row.cancel_requested = JobState.QUEUED, 0, False
            row.revision_id = row.ended_at = row.cause = row.owner = row.heartbeat_at = None
            row.progress, row.result = {}, {}
            tell(session, job, JobState.QUEUED, by=by, trigger="retry")
        return self.get(job)


def _wishes(request: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in request.items() if name != "reason"}
