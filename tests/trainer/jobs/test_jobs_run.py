"""A job from labels to a decision, in this process on the tiny base; everything else is as in a worker."""

from __future__ import annotations

from threading import Event
from typing import Any

import pytest
from job_parts import QUICK, fill
from job_place import Place

from models_store.files import replace_file
from models_store.registry import CANDIDATE, CHAMPION, Reference, Registry
from trainer.gate.store import read_gate
from trainer.jobs import run as run_module
from trainer.jobs.outcomes import Kind
from trainer.jobs.run import TuningJobs
from trainer.jobs.states import JobState, WorkerEnding
from trainer.labels.errors import ConflictError
from trainer.labels.new import Split


def test_the_first_version_is_judged_against_zero_shot_and_the_second_against_it(place: Place) -> None:
    fill(place.store)
    first = place.done(reason="first labels")
    assert (first.state, first.cause) == (JobState.SUCCEEDED, None)
    assert first.result["decision"] == Kind.PROMOTED
    assert first.result["champion"] is None
    fill(place.store, train=2, val=0, first=50)
    place.policy(warm_start="champion")
    second = place.done()
    assert second.result["champion"] == "v0001"
    assert second.revision != first.revision
    assert place.loaded == 1
    assert "starting from the champion, toys/v0001" in place.logs(second)
    assert place.registry.aliases("toys") == {CHAMPION: "v0002", CANDIDATE: "v0002"}
    config = place.registry.read(Reference("toys", "v0002")).config
    assert config.data["warm_start"]["checkpoint"] == "toys/v0001"
    moves = [(move.alias, move.version, move.author) for move in place.registry.history("toys")]
    assert moves[:2] == [("candidate", "v0001", f"job {first.id}"), ("champion", "v0001", f"job {first.id}")]
    newest = place.decisions.newest("toys")[0]
    assert (newest.kind, newest.version, newest.champion, newest.job) == (
        Kind.PROMOTED,
        "v0002",
        "v0001",
        second.id,
    )
    record = read_gate(place.registry, Reference("toys", "v0002"))
    assert record is not None
    assert newest.figures == record.model_dump(mode="json", exclude={"rows"})
    assert newest.report is not None
    assert b"toys/v0002" in place.store.blobs.read(newest.report)


def test_what_the_rule_refuses_is_not_promoted(place: Place) -> None:
    fill(place.store)
    place.policy(rule=QUICK["rule"] | {"least_gain": 0.99})
    job = place.done()
    assert (job.state, job.result["decision"]) == (JobState.SUCCEEDED, Kind.REJECTED)
    assert place.registry.aliases("toys") == {CANDIDATE: "v0001"}
    assert place.decisions.newest("toys")[0].kind == Kind.REJECTED


def test_a_policy_may_leave_promotion_to_a_person(place: Place) -> None:
    fill(place.store)
    job = place.done(promote=False)
    assert job.result["decision"] == Kind.KEPT
    assert "leaves promotion to a person" in job.result["reason"]
    made = place.decisions.promote(Reference("toys", "v0001"), by="mk", reason="seen on ten scans")
    assert (made.kind, made.champion) == (Kind.PROMOTED, None)
    assert place.registry.history("toys")[-1].reason == "seen on ten scans"
    with pytest.raises(ConflictError, match="is the champion already"):
        place.decisions.promote(Reference("toys", "v0001"), by="mk", reason="again")
    with pytest.raises(ConflictError, match="is the champion"):
        place.decisions.reject(Reference("toys", "v0001"), by="mk", reason="no")


def test_a_pinned_champion_stays(place: Place) -> None:
    fill(place.store)
    place.done()
    place.decisions.pin("toys", by="mk", reason="in a trial")
    fill(place.store, train=2, val=0, first=50)
    job = place.done()
    assert job.result["decision"] == Kind.KEPT
    assert "v0001 is pinned" in job.result["reason"]
    assert place.registry.aliases("toys") == {CHAMPION: "v0001", CANDIDATE: "v0002"}
    with pytest.raises(ConflictError, match="pinned to v0001"):
        place.decisions.promote(Reference("toys", "v0002"), by="mk", reason="better")
    place.decisions.unpin("toys", by="mk", reason="the trial is over")
    place.decisions.promote(Reference("toys", "v0002"), by="mk", reason="better")
    kinds = [each.kind for each in place.decisions.newest("toys")]
    assert kinds == [Kind.PROMOTED, Kind.UNPINNED, Kind.KEPT, Kind.PINNED, Kind.PROMOTED]
    with pytest.raises(ConflictError, match="is not pinned"):
        place.decisions.unpin("toys", by="mk", reason="again")


@pytest.mark.parametrize("dies", ["_move_candidate", "_judge", "_report", "_conclude"])
def test_one_that_goes_on_publishes_nothing_twice(
    place: Place, monkeypatch: pytest.MonkeyPatch, dies: str
) -> None:
    fill(place.store)

    def ends(*_: object) -> None:
        raise WorkerEnding("its worker was asked to end")

    with monkeypatch.context() as patch:
        patch.setattr(TuningJobs, dies, ends)
        handed_back = place.done()
    assert handed_back.state is JobState.QUEUED
    assert place.worker.look(Event())
    done = place.jobs.get(handed_back.id)
    assert (done.state, done.result["version"]) == (JobState.SUCCEEDED, "v0001")
    assert place.registry.versions("toys") == ["v0001"]


def test_a_version_that_was_published_but_not_told_of_is_found(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(place.store)
    real = run_module.tune

    def dies_after(*given: Any, **options: Any) -> None:
        real(*given, **options)
        raise WorkerEnding("killed right after publishing")

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "tune", dies_after)
        handed_back = place.done()
    assert handed_back.result == {}
    place.worker.look(Event())
    assert place.jobs.get(handed_back.id).result["version"] == "v0001"
    assert place.registry.versions("toys") == ["v0001"]


def test_one_that_died_after_it_had_promoted_puts_that_on_record(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(place.store)
    place.done()
    fill(place.store, train=2, val=0, first=50)
    real = Registry.move_alias

    def dies_after(registry: Registry, reference: Reference, alias: str, **why: Any) -> Any:
        moved = real(registry, reference, alias, **why)
        if alias == CHAMPION:
            raise WorkerEnding("killed right after the move")
        return moved

    with monkeypatch.context() as patch:
        patch.setattr(Registry, "move_alias", dies_after)
        handed_back = place.done()
    assert place.registry.aliases("toys")[CHAMPION] == "v0002"
    place.worker.look(Event())
    done = place.jobs.get(handed_back.id)
    assert done.result["decision"] == Kind.PROMOTED
    decision = place.decisions.newest("toys")[0]
    # Held against the champion that it replaced, not against itself.
    assert (decision.version, decision.champion) == ("v0002", "v0001")
    assert decision.report is not None
    champions = [move.version for move in place.registry.history("toys") if move.alias == CHAMPION]
    assert champions == ["v0001", "v0002"]


def test_another_champion_meanwhile_is_not_replaced_unseen(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(place.store)
    place.done()
    fill(place.store, train=1, val=0, first=50)
    place.done(promote=False)
    fill(place.store, train=1, val=0, first=60)
    real = TuningJobs._report

    def somebody_promotes(*given: Any) -> str:
        place.decisions.promote(Reference("toys", "v0002"), by="mk", reason="meanwhile")
        return real(*given)

    monkeypatch.setattr(TuningJobs, "_report", somebody_promotes)
    job = place.done()
    assert job.result["decision"] == Kind.KEPT
    assert "compared with v0001 and the champion is v0002 now" in job.result["reason"]
    assert place.registry.aliases("toys")[CHAMPION] == "v0002"


def test_too_little_to_judge_on_is_said(place: Place) -> None:
    fill(place.store, train=6, val=0)
    job = place.done()
    assert job.state is JobState.FAILED
    assert job.cause is not None
    assert job.cause.startswith("toys has no accepted annotation in 'val' yet")
    fill(place.store, train=0, val=4, first=50)
    place.jobs.retry(job.id, by="mk")
    place.worker.look(Event())
    assert place.jobs.get(job.id).state is JobState.SUCCEEDED


def test_damaged_labels_fail_with_their_cause(place: Place) -> None:
    fill(place.store)
    path = place.store.blobs.path(next(iter(place.store.blobs)))
    replace_file(path, b"damaged")
    job = place.done()
    assert job.state is JobState.FAILED
    assert job.cause


def test_a_champion_that_does_not_fit_is_not_started_from(place: Place) -> None:
    fill(place.store)
    place.done()
    fill(place.store, train=1, val=0, first=50)
    place.policy(warm_start="champion", depth=3)
    job = place.done()
    assert job.state is JobState.SUCCEEDED
    assert any("has depth 2, not 3" in text for text in place.logs(job))
    # One that was asked for by name is an error.
    failed = place.done(warm_start="toys/v0001", depth=3)
    assert failed.state is JobState.FAILED
    assert failed.cause is not None
    assert "depth 2" in failed.cause


def test_the_split_of_toys_is_what_the_tests_say(place: Place) -> None:
    fill(place.store)
    assert place.store.counts("toys").splits == {Split.TRAIN: 8, Split.VAL: 4}
