"""Jobs and their events over HTTP; what a worker does is tested with its process."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from job_parts import wait_until
from jobs_api import Api

from server.client import Client, NotFoundError, RefusedError
from trainer.jobs.queue import open_queue
from trainer.jobs.rows import succeed

NO_JOB = "0" * 32


class TestJobs:
    def test_a_job_is_accepted_with_its_address(self, toys: Api) -> None:
        answer = toys.http.post("/datasets/toys/jobs", json={"author": "mk", "budget_seconds": 7})
        assert answer.status_code == 202
        job = answer.json()
        assert answer.headers["location"] == f"/jobs/{job['id']}"
        assert toys.http.get(answer.headers["location"]).json() == job
        assert job["request"] == {"budget_seconds": 7.0, "reason": "asked for"}
        assert [each.id for each in toys.client.jobs.newest(dataset="toys", state="queued")] == [job["id"]]
        assert toys.client.jobs.newest(state="running") == []
        # Whoever waits on the queue is woken.
        queue = open_queue(f"sqlite:///{toys.data_dir / 'queue.db'}")
        assert queue.wait(30, threading.Event())
        queue.close()

    def test_without_any_labels_there_is_no_job_and_no_database(self, api: Api) -> None:
        assert api.client.jobs.newest() == []
        for ask in (
            lambda: api.client.jobs.start("nope", author="mk"),
            lambda: api.client.jobs.show(NO_JOB),
            lambda: api.client.jobs.policy("nope"),
            lambda: api.client.jobs.decisions("nope"),
            lambda: list(api.client.jobs.events(NO_JOB)),
            lambda: api.client.jobs.report(NO_JOB),
            lambda: api.client.jobs.pin("nope", author="mk", reason="x"),
        ):
            with pytest.raises(NotFoundError):
                ask()
        assert not (api.data_dir / "labels.db").exists()

    @pytest.mark.parametrize(
        ("body", "status", "said"),
        [
            ({}, 422, "author"),
            ({"author": "mk", "strategies": ["magic"]}, 422, "strategies"),
            ({"author": "mk", "budget_seconds": -1}, 422, "budget_seconds"),
            ({"author": "mk", "evry": 1}, 422, "evry"),
            ({"author": "mk", "warm_start": "nope/v0001"}, 404, "no dataset 'nope'"),
            ({"author": "mk", "warm_start": "///"}, 422, "is not a checkpoint"),
        ],
    )
    def test_what_is_not_acceptable_is_named(
        self, toys: Api, body: dict[str, Any], status: int, said: str
    ) -> None:
        answer = toys.http.post("/datasets/toys/jobs", json=body)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
        assert said in answer.json()["detail"]
        assert toys.client.jobs.newest() == []

    def test_names_with_a_slash_or_worse_are_refused(self, toys: Api) -> None:
        for name in ("a%2Fb", "%00", "..", "A" * 90):
            answer = toys.http.post(f"/datasets/{name}/jobs", json={"author": "mk"})
            assert answer.status_code in (404, 405, 422), name

    def test_conflicts(self, toys: Api) -> None:
        job = toys.client.jobs.start("toys", author="mk")
        with pytest.raises(RefusedError, match="waits already") as refused:
            toys.client.jobs.start("toys", author="mk", budget_seconds=9)
        assert refused.value.status == 409
        with pytest.raises(RefusedError, match="is queued"):
            toys.client.jobs.retry(job.id, author="mk")
        assert toys.client.jobs.cancel(job.id, author="mk").state == "cancelled"
        with pytest.raises(RefusedError, match="nothing to cancel"):
            toys.client.jobs.cancel(job.id, author="mk")
        assert toys.client.jobs.retry(job.id, author="mk").state == "queued"
        with pytest.raises(NotFoundError, match="is queued and has no report"):
            toys.client.jobs.report(job.id)


class TestEvents:
    def test_they_come_as_they_happen_and_end_with_the_job(self, toys: Api) -> None:
        job = toys.client.jobs.start("toys", author="mk")
        seen: list[str] = []

        def follow() -> None:
            with Client(toys.url) as own:
                seen.extend(event.kind for event in own.jobs.events(job.id))

        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(follow)
            toys.claims.claim("w")
            toys.claims.beat(job.id, "w", progress={"stage": "tuning", "step": 1})
            wait_until(lambda: len(toys.client.jobs.show(job.id).progress) == 2, "progress")
            with toys.claims.owned(job.id, "w") as (session, row):
                succeed(session, row, {"version": "v0002"})
            done.result(60)
        assert seen == ["queued", "running", "progress", "succeeded"]

    def test_a_client_goes_on_after_the_last_it_saw(self, toys: Api) -> None:
        job = toys.client.jobs.start("toys", author="mk")
        toys.client.jobs.cancel(job.id, author="mk")
        first, last = toys.client.jobs.events(job.id)
        assert first.data == {"by": "mk", "trigger": "request"}
        assert [event.id for event in toys.client.jobs.events(job.id, after=first.id)] == [last.id]
        raw = toys.http.get(f"/jobs/{job.id}/events", headers={"Last-Event-ID": str(first.id)})
        assert raw.headers["content-type"].startswith("text/event-stream")
        assert raw.text.startswith(f"id: {last.id}\r\nevent: cancelled\r\ndata: {{")
        # So that a browser asks no more.
        nothing = toys.http.get(f"/jobs/{job.id}/events", headers={"Last-Event-ID": str(last.id)})
        assert (nothing.status_code, nothing.content) == (204, b"")

    @pytest.mark.parametrize("odd", [b"x", b"-1", b"9" * 40, b"\xb2", b""])
    def test_a_number_that_is_none_means_from_the_start(self, toys: Api, odd: bytes) -> None:
        job = toys.client.jobs.start("toys", author="mk")
        toys.client.jobs.cancel(job.id, author="mk")
        answer = toys.http.get(f"/jobs/{job.id}/events", headers={"Last-Event-ID": odd})
        assert "event: queued" in answer.text
