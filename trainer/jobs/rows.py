"""Rows of jobs: their views, their events, and the changes of state, in a session that holds the job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from trainer.jobs.states import Job, JobState, Trigger
from trainer.labels.errors import UnknownLabelsError
from trainer.labels.store import now
from trainer.labels.tables import DatasetRow, JobEventRow, JobRow, RevisionRow


def tell(session: Session, job: str, kind: str, **data: Any) -> None:
    """Add an event; the session has the job's row locked, so that ids rise in the order of commits."""
    session.add(JobEventRow(job_id=job, kind=kind, data=data, at=now()))
    session.flush()


def succeed(session: Session, row: JobRow, result: Mapping[str, Any]) -> None:
    """End a job well, in the session that keeps its outcome."""
    row.result = dict(result)
    end(session, row, JobState.SUCCEEDED, **result)


def end(session: Session, row: JobRow, state: JobState, **data: Any) -> None:
    """End a job; ``data`` goes into its last event, and ``cause`` among it into the job."""
    row.state, row.ended_at, row.cause = state, now(), data.get("cause")
    row.owner = row.heartbeat_at = None
    tell(session, row.id, state, **data)


def queue_again(session: Session, row: JobRow, why: str) -> None:
    """Let another worker go on with a job; one that is to be cancelled ends instead."""
    if row.cancel_requested:
        end(session, row, JobState.CANCELLED, cause=f"cancelled on request; {why}")
        return
    row.state, row.owner, row.heartbeat_at = JobState.QUEUED, None, None
    tell(session, row.id, JobState.QUEUED, why=why)


def locked_job(session: Session, job: str) -> JobRow:
    """A job that no other session changes until this one ends.

    Raises:
        UnknownLabelsError: There is none of that id.
    """
    row = session.scalars(select(JobRow).where(JobRow.id == job).with_for_update()).one_or_none()
    if row is None:
        raise UnknownLabelsError(f"no job {job[:64]!r}")
    return row


def jobs_with_names() -> Select[JobRow, str, str]:
    """Jobs with the names of their datasets and revisions, if any, for :func:`found_jobs`."""
    return (
        select(JobRow, DatasetRow.name, RevisionRow.manifest)
        .join(DatasetRow, DatasetRow.id == JobRow.dataset_id)
        .outerjoin(RevisionRow, RevisionRow.id == JobRow.revision_id)
    )


def found_jobs(session: Session, wanted: Select[JobRow, str, str]) -> list[Job]:
    """The jobs that a form of :func:`jobs_with_names` finds."""
    return [job_of(row, dataset, revision) for row, dataset, revision in session.execute(wanted)]


def job_of(row: JobRow, dataset: str, revision: str | None) -> Job:
    """The view of a row, given the names of its dataset and its revision."""
    return Job(
        id=row.id,
        dataset=dataset,
        state=JobState(row.state),
        trigger=Trigger(row.trigger),
        requested_by=row.requested_by,
        request=row.request,
        attempt=row.attempt,
        cancel_requested=row.cancel_requested,
        revision=revision,
        created_at=row.created_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        heartbeat_at=row.heartbeat_at,
        progress=row.progress,
        result=row.result,
        cause=row.cause,
    )
