"""Jobs of a worker whose base model is not the one that the champion was tuned on."""

from __future__ import annotations

from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest
from job_parts import QUICK, fill
from job_place import Place

from models_store.registry import CANDIDATE, CHAMPION, Reference
from models_store.vlsm import FrozenVLSM
from trainer.gate.store import read_gate
from trainer.jobs.outcomes import Kind
from trainer.jobs.queue import JobQueue
from trainer.jobs.states import JobState


@pytest.fixture
def later(tiny: FrozenVLSM, tiny_hybrid: FrozenVLSM, tmp_path: Path, queue: JobQueue) -> Iterator[Place]:
    """A place with a champion of one base, where the worker has another one now, and more labels."""
    before = Place(tmp_path / "data", tiny_hybrid, queue)
    fill(before.store)
    assert before.done().result["decision"] == Kind.PROMOTED
    before.store.database.close()
    place = Place(tmp_path / "data", tiny, queue)
    fill(place.store, train=2, val=0, first=50)
    yield place
    place.store.database.close()


def said(tiny: FrozenVLSM, tiny_hybrid: FrozenVLSM) -> str:
    return (
        f"the champion toys/v0001 is of base {tiny_hybrid.spec.name!r}, which is not the one in use "
        f"({tiny.spec.name!r}), so it was not compared"
    )


def test_the_candidate_is_judged_without_the_champion_and_kept_for_a_person(
    later: Place, tiny: FrozenVLSM, tiny_hybrid: FrozenVLSM
) -> None:
    later.policy(warm_start="champion")
    job = later.done()
    assert (job.state, job.cause) == (JobState.SUCCEEDED, None)
    assert (job.result["decision"], job.result["champion"]) == (Kind.KEPT, "v0001")
    assert job.result["reason"] == said(tiny, tiny_hybrid)
    assert later.registry.aliases("toys") == {CHAMPION: "v0001", CANDIDATE: "v0002"}
    logs = later.logs(job)
    assert said(tiny, tiny_hybrid) in logs
    assert any(text.startswith("the champion is not started from: checkpoint v0001") for text in logs)
    record = read_gate(later.registry, Reference("toys", "v0002"))
    assert record is not None
    assert record.champion is not None
    assert (record.champion.name, record.against, record.route.champion_rows) == (
        "toys/v0001",
        "zero_shot",
        0,
    )
    assert set(record.comparisons) == {"zero_shot"}
    assert said(tiny, tiny_hybrid) in record.route.reason
    decision = later.decisions.newest("toys")[0]
    assert decision.report is not None
    assert said(tiny, tiny_hybrid) in unescape(later.store.blobs.read(decision.report).decode())


def test_one_that_a_person_promotes_is_compared_with_from_then_on(later: Place) -> None:
    later.done()
    later.decisions.promote(Reference("toys", "v0002"), by="mk", reason="the base in use")
    fill(later.store, train=2, val=0, first=60)
    job = later.done()
    assert (job.result["decision"], job.result["champion"]) == (Kind.PROMOTED, "v0002")
    record = read_gate(later.registry, Reference("toys", "v0003"))
    assert record is not None
    assert record.against == "champion"


def test_one_that_is_worse_than_untuned_is_rejected_all_the_same(later: Place) -> None:
    later.policy(rule=QUICK["rule"] | {"least_gain": 0.99})
    assert later.done().result["decision"] == Kind.REJECTED
    assert later.registry.aliases("toys")[CHAMPION] == "v0001"


def test_cross_validation_leaves_the_champion_out_too(
    later: Place, tiny: FrozenVLSM, tiny_hybrid: FrozenVLSM
) -> None:
    later.policy(rule=QUICK["rule"] | {"least_val_units": 5, "least_training_units": 4, "folds": 2})
    job = later.done()
    assert (job.state, job.result["decision"]) == (JobState.SUCCEEDED, Kind.KEPT)
    assert job.result["reason"] == said(tiny, tiny_hybrid)
    record = read_gate(later.registry, Reference("toys", "v0002"))
    assert record is not None
    assert record.route.kind == "cross-validation"
    assert all("champion" not in row.sides for row in record.rows)
