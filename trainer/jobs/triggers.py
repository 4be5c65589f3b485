"""When a dataset is tuned by itself: after so many newly accepted labels, or by schedule."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models_store.errors import StudioError
from trainer.jobs.policy import Policy, policy_of
from trainer.jobs.records import Jobs
from trainer.jobs.states import JobState, Trigger
from trainer.labels.new import State
from trainer.labels.revisions import manifest
from trainer.labels.store import LabelStore, annotations_of, now
from trainer.labels.tables import AnnotationRow, DatasetRow, ImageRow, JobRow, ReviewRow, RevisionRow

# Missed minutes of a schedule are made up for while a worker lives, within so long.
LOOK_BACK = timedelta(hours=6)
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class News:
    """What was accepted in a dataset since it was last tuned on.

    Attributes:
        labels: How many annotations a revision made now has that the last job's had not.
        newest: When the last of them was accepted.
        waiting: A job of the dataset is queued already.
        tried: When a job was last asked for that never came to a revision.
        scheduled: When a job was last asked for by schedule.
    """

    labels: int
    newest: datetime | None
    waiting: bool
    tried: datetime | None
    scheduled: datetime | None


class Triggers:
    """Asks for the jobs that policies want; any number of processes may do so at once.

    Args:
        store: Labels and policies.
        jobs: Where jobs are asked for.
    """

    def __init__(self, store: LabelStore, jobs: Jobs):
        self._store, self._jobs = store, jobs
        self._since = now()
        self._told: set[str] = set()

    def pull(self, moment: datetime | None = None) -> list[str]:
        """Ask for every job that is due, and return them.

        Args:
            moment: The time to go by; default now.
        """
        moment = now() if moment is None else moment
        since, self._since = max(self._since, moment - LOOK_BACK), moment
        asked = []
        for dataset, policy in self._policies():
            why = self._due(dataset, policy, since, moment)
            if why is None:
                continue
            trigger, reason = why
            job, new = self._jobs.request(
                dataset, by=f"policy of {dataset}", trigger=trigger, request={"reason": reason}
            )
            if new:
                asked.append(job.id)
        return asked

    def _policies(self) -> list[tuple[str, Policy]]:
        found = []
        with self._store.database.reading() as session:
            stored = [(row.name, row.policy) for row in session.scalars(select(DatasetRow))]
        for name, values in stored:
            try:
                policy = policy_of(values)
            except StudioError as error:
                if name not in self._told:
                    logger.warning("dataset %s is not tuned by itself: %s", name, error)
                self._told.add(name)
                continue
            if policy.after_labels is not None or policy.schedule is not None:
                found.append((name, policy))
        return found

    def _due(
        self, dataset: str, policy: Policy, since: datetime, moment: datetime
    ) -> tuple[Trigger, str] | None:
        minute = last_due(policy, since, moment)
        if minute is None and policy.after_labels is None:
            return None
        news = self.news(dataset)
        if news.waiting or news.newest is None:
            return None
        if news.tried is not None and news.newest <= news.tried:
            # It failed before it had a revision; the same labels would fail again.
            return None
        if minute is not None and (news.scheduled is None or news.scheduled < minute):
            return Trigger.SCHEDULE, f"schedule {policy.schedule}, {news.labels} new labels"
        quiet = (moment - news.newest).total_seconds() >= policy.debounce_seconds
        if policy.after_labels is not None and news.labels >= policy.after_labels and quiet:
            return Trigger.LABELS, f"{news.labels} new labels, {policy.after_labels} are asked for"
        return None

    def news(self, dataset: str) -> News:
        """What was accepted since the last job, however that ended, took its revision."""
        with self._store.database.reading() as session:
            row = session.scalars(select(DatasetRow).where(DatasetRow.name == dataset)).one()
            last, tried = _last_revision(session, row)
            accepted = _newest_accepted(session, row)
            waiting = session.scalar(
                select(JobRow.id).where(JobRow.dataset_id == row.id, JobRow.state == JobState.QUEUED)
            )
            scheduled = session.scalar(
                select(func.max(JobRow.created_at)).where(
                    JobRow.dataset_id == row.id, JobRow.trigger == Trigger.SCHEDULE
                )
            )
        known = set() if last is None else {each["annotation"] for each in manifest(self._store, last)}
        fresh = {annotation: at for annotation, at in accepted.items() if annotation not in known}
        return News(len(fresh), max(fresh.values(), default=None), waiting is not None, tried, scheduled)


def last_due(policy: Policy, since: datetime, moment: datetime) -> datetime | None:
    """The last minute after ``since``, up to ``moment``, at which the schedule is due."""
    due = policy.due()
    if due is None:
        return None
    minute = moment.replace(second=0, microsecond=0)
    while minute > since:
        if due(minute):
            return minute
        minute -= timedelta(minutes=1)
    return None


def _last_revision(session: Session, row: DatasetRow) -> tuple[str | None, datetime | None]:
    """The revision of the newest job that has one, and when a newer one without was asked for."""
    jobs = session.execute(
        select(JobRow.created_at, RevisionRow.manifest)
        .outerjoin(RevisionRow, RevisionRow.id == JobRow.revision_id)
        .where(JobRow.dataset_id == row.id, JobRow.state != JobState.QUEUED)
        .order_by(JobRow.created_at.desc(), JobRow.id)
    )
    tried: datetime | None = None
    for created, digest in jobs:
        revision: str | None = digest
        if revision is not None:
            return revision, tried
        tried = created if tried is None else tried
    return None, tried


def _newest_accepted(session: Session, row: DatasetRow) -> dict[int, datetime]:
    """The annotations a revision would hold now, and when each was last reviewed."""
    newest: dict[tuple[int, str], int] = {}
    for annotation, state in annotations_of(session, row):
        if state == State.ACCEPTED:
            newest[annotation.image_id, annotation.class_name or annotation.phrase] = annotation.id
    reviewed = session.execute(
        select(ReviewRow.annotation_id, func.max(ReviewRow.at))
        .join(AnnotationRow, AnnotationRow.id == ReviewRow.annotation_id)
        .join(ImageRow, ImageRow.id == AnnotationRow.image_id)
        .where(ImageRow.dataset_id == row.id)
        .group_by(ReviewRow.annotation_id)
    )
    moments = {annotation: at for annotation, at in reviewed}
    return {annotation: moments[annotation] for annotation in newest.values()}
