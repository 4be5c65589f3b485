"""When datasets are tuned by themselves, on both databases."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from job_parts import fill, labelled
from sqlalchemy import select

from trainer.jobs.claims import Claims
from trainer.jobs.records import Jobs
from trainer.jobs.states import Job, JobState, Trigger
from trainer.jobs.triggers import Triggers
from trainer.labels.new import Split, State
from trainer.labels.revisions import freeze
from trainer.labels.store import LabelStore, now
from trainer.labels.tables import AnnotationRow, RevisionRow


@pytest.fixture
def triggers(store: LabelStore, jobs: Jobs) -> Triggers:
    return Triggers(store, jobs)


def later(seconds: float) -> Any:
    return now() + timedelta(seconds=seconds)


def take(store: LabelStore, claims: Claims) -> Job:
    """Begin the job that waits, as a worker does, with its revision."""
    job = claims.claim("w")
    assert job is not None
    frozen = freeze(store, job.dataset, by="w")
    with claims.owned(job.id, "w") as (session, row):
        row.revision_id = session.scalar(select(RevisionRow.id).where(RevisionRow.manifest == frozen.digest))
    return job


def test_after_so_many_labels_once_they_stopped_coming(
    store: LabelStore, jobs: Jobs, triggers: Triggers
) -> None:
    policy = {"after_labels": 4, "debounce_seconds": 30}
    fill(store, "trees", train=2, val=1, policy=policy)
    assert triggers.pull(later(60)) == []
    fill(store, "trees", train=1, val=0, first=10)
    assert triggers.pull(later(10)) == []
    (job,) = triggers.pull(later(60))
    found = jobs.get(job)
    assert (found.dataset, found.trigger, found.requested_by) == ("trees", Trigger.LABELS, "policy of trees")
    assert found.request == {"reason": "4 new labels, 4 are asked for"}
    assert triggers.pull(later(61)) == []


def test_what_comes_during_a_run_waits_for_the_next(
    store: LabelStore, jobs: Jobs, claims: Claims, triggers: Triggers
) -> None:
    fill(store, "trees", train=3, val=1, policy={"after_labels": 2, "debounce_seconds": 0})
    triggers.pull()
    running = take(store, claims)
    assert triggers.pull() == []
    fill(store, "trees", train=1, val=0, first=10)
    assert triggers.pull() == []
    fill(store, "trees", train=1, val=0, first=11)
    (waiting,) = triggers.pull()
    assert jobs.get(waiting).state == JobState.QUEUED
    assert claims.claim("w2") is None
    claims.fail(running.id, "w", "whatever")
    assert take(store, claims).id == waiting
    claims.fail(waiting, "w", "whatever")
    # Those labels were tried; that the job failed changes nothing about them.
    assert triggers.pull() == []


def test_drafts_do_not_count_until_accepted(store: LabelStore, triggers: Triggers) -> None:
    fill(store, "trees", train=1, val=0, policy={"after_labels": 2, "debounce_seconds": 0})
    store.add("trees", [labelled(store, 20, Split.TRAIN, state=State.DRAFT)], by="ann")
    assert triggers.pull() == []
    with store.database.reading() as session:
        draft = max(session.scalars(select(AnnotationRow.id)))
    store.review(draft, State.ACCEPTED, by="mk", reason="good")
    assert len(triggers.pull()) == 1


def test_what_failed_before_it_had_a_revision_is_not_tried_on_the_same_labels(
    store: LabelStore, claims: Claims, triggers: Triggers
) -> None:
    fill(store, "trees", train=2, val=0, policy={"after_labels": 2, "debounce_seconds": 0})
    (job,) = triggers.pull()
    claims.claim("w")
    claims.fail(job, "w", "the disk is full")
    assert triggers.pull() == []
    fill(store, "trees", train=1, val=0, first=10)
    assert len(triggers.pull()) == 1


def test_by_schedule_if_anything_is_new(store: LabelStore, jobs: Jobs, claims: Claims) -> None:
    fill(store, "trees", train=2, val=1, policy={"schedule": "0 3 * * *"})
    tomorrow = (now() + timedelta(days=1)).replace(hour=3, minute=0, second=20)
    triggers = Triggers(store, jobs)
    assert triggers.pull(tomorrow - timedelta(minutes=2)) == []
    (job,) = triggers.pull(tomorrow + timedelta(minutes=3))
    assert jobs.get(job).trigger == Trigger.SCHEDULE
    take(store, claims)
    claims.fail(job, "w", "whatever")
    assert triggers.pull(tomorrow + timedelta(days=1, minutes=1)) == []


def test_two_workers_ask_for_one_job(store: LabelStore, jobs: Jobs) -> None:
    fill(store, "trees", train=2, val=1, policy={"after_labels": 1, "debounce_seconds": 0})
    asked = [*Triggers(store, jobs).pull(), *Triggers(store, jobs).pull()]
    assert len(asked) == 1


def test_a_policy_that_does_not_read_stops_no_other(store: LabelStore, triggers: Triggers) -> None:
    fill(store, "odd", train=1, val=0, policy={"after_labels": "many"})
    fill(store, "trees", train=1, val=0, first=5, policy={"after_labels": 1, "debounce_seconds": 0})
    assert len(triggers.pull()) == 1
