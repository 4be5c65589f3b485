"""The server and its worker as users run them: real processes, on either pair of database and queue."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from job_parts import DEADLINE_SECONDS, QUICK, fill, wait_until
from live import running
from serving import make_app, png
from worker_parts import Service

from models_store.registry import Registry
from models_store.vlsm import FrozenVLSM
from server.client import Client, NotFoundError, RefusedError
from server.schemas import JobInfo
from trainer.jobs.policy import Policy

URL = re.compile(r"TuneVLSeg Studio: (http://\S+)")
# So long that a job can be caught at work, however slow this process is beside the worker's, and so short
# that nobody waits for it to end: with so many images training takes ten seconds and more.
LONG = {"budget_seconds": 600, "strategies": ["vpt"], "n": 32}
MANY = 400
SQLITE, SERVERS = "sqlite", "postgresql and redis"


def on(*kinds: str) -> pytest.MarkDecorator:
    """On which pairs of database and queue; what does not differ between them is tried on one."""
    return pytest.mark.parametrize("service", kinds, indirect=True)


@pytest.fixture
def service(request: pytest.FixtureRequest, tmp_path: Path, tiny_folder: Path) -> Iterator[Service]:
    urls: dict[str, str] = {}
    if getattr(request, "param", SQLITE) != SQLITE:
        urls["database_url"] = request.getfixturevalue("postgres_url")
        urls["queue_url"] = request.getfixturevalue("redis_url")
    service = Service(tmp_path, tiny_folder, urls)
    try:
        yield service
    finally:
        service.end()


@contextmanager
def answered(service: Service, vlsm: FrozenVLSM) -> Iterator[Client]:
    """A client of the application, which here is a thread of the test: what is tried is the worker."""
    app, _, _ = make_app(vlsm, service.data_dir, **service.urls)
    with running(app) as url, Client(url, timeout=60) as client:
        yield client


@contextmanager
def served(service: Service, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], Client]]:
    """A server that is ready, and a client of it."""
    process = service.begin("serve", "--port", "0", "--no-page", *options)

    def url() -> str | None:
        assert process.poll() is None, service.said()
        found = URL.search(service.said())
        return found.group(1) if found else None

    with Client(wait_until(url, "the server's address"), timeout=60) as client:
        wait_until(lambda: ready(client), "a server that is ready")
        yield process, client


def ready(client: Client) -> bool:
    try:
        return client.readiness().ready
    except Exception:
        # It does not listen yet.
        return False


def state_of(client: Client, job: JobInfo) -> str:
    return client.jobs.show(job.id).state


def end_of(client: Client, job: JobInfo) -> JobInfo:
    wait_until(lambda: client.jobs.show(job.id).ended_at, f"the end of {client.jobs.show(job.id)}")
    return client.jobs.show(job.id)


@on(SQLITE, SERVERS)
def test_from_labels_to_a_champion_that_is_served(service: Service) -> None:
    fill(service.store)
    with served(service, "--worker") as (process, client):
        before = client.segment(png(), "bright half")
        assert before.versions.checkpoint is None
        job = client.jobs.start("toys", author="mk", reason="first labels")
        assert job.state == "queued"
        events = list(client.jobs.events(job.id))
        assert [each.kind for each in events][:2] == ["queued", "running"]
        assert events[-1].kind == "succeeded"
        assert {each.data["stage"] for each in events if each.kind == "progress"} >= {"tuning", "judging"}
        assert [each.id for each in client.jobs.events(job.id, after=events[3].id)] == [
            each.id for each in events[4:]
        ]
        done = client.jobs.show(job.id)
        assert (done.state, done.result["version"], done.result["promoted"]) == ("succeeded", "v0001", True)
        # It follows at once, with no restart.
        after = client.segment(png(), "bright half", dataset="toys")
        assert after.versions.checkpoint is not None
        assert after.versions.checkpoint.version == "v0001"
        decision = client.jobs.decisions("toys")[0]
        assert (decision.kind, decision.version, decision.author) == ("promoted", "v0001", f"job {job.id}")
        assert decision.figures["route"]["kind"] == "val"
        page = client.jobs.report(job.id)
        assert b"<html" in page
        assert b"toys/v0001" in page
        config = (
            Registry(service.data_dir / "registry")
            .read(Registry(service.data_dir / "registry").resolve("toys"))
            .config
        )
        assert (config.data["job"], config.data["revision"]) == (job.id, done.revision)
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_SECONDS) == 0


@on(SERVERS)
def test_cancel_retry_and_a_second_one_that_waits(service: Service, tiny: FrozenVLSM) -> None:
    fill(service.store, train=MANY)
    service.begin("worker")
    with answered(service, tiny) as client:
        first = client.jobs.start("toys", author="mk", **LONG)
        # What an epoch left is what it goes on from.
        wait_until(lambda: client.jobs.show(first.id).progress.get("epoch", 0) >= 1, "an epoch")
        second = client.jobs.start("toys", author="mk", reason="new labels meanwhile")
        assert second.id != first.id
        assert client.jobs.start("toys", author="another").id == second.id
        assert state_of(client, first) == "running"
        assert state_of(client, second) == "queued"
        client.jobs.cancel(first.id, author="mk")
        cancelled = end_of(client, first)
        assert (cancelled.state, cancelled.cause) == ("cancelled", "cancelled on request")
        assert end_of(client, second).state == "succeeded"
        with pytest.raises(NotFoundError, match="has no report"):
            client.jobs.report(first.id)
        again = client.jobs.retry(first.id, author="mk")
        assert (again.state, again.attempt) == ("queued", 0)
        # From where it was: the same labels, so the same run.
        said = wait_until(lambda: resumed(client, first), "the run going on where it was")
        assert "goes on after epoch" in said
        client.jobs.cancel(first.id, author="mk")
        assert end_of(client, first).state == "cancelled"
        with pytest.raises(RefusedError, match="nothing to cancel"):
            client.jobs.cancel(first.id, author="mk")


def resumed(client: Client, job: JobInfo) -> str | None:
    """What a job said when it went on from a saved state; it ends if it did not save any."""
    events = threads_events(client, job)
    texts = [str(event.data["text"]) for event in events if event.kind == "log"]
    return next((text for text in texts if text.startswith("goes on")), None)


def threads_events(client: Client, job: JobInfo) -> list[Any]:
    """The events up to now, of a job that goes on."""
    found: list[Any] = []
    stream = client.jobs.events(job.id)
    last = client.jobs.show(job.id)
    for event in stream:
        found.append(event)
        if event.at >= (last.heartbeat_at or last.created_at):
            break
    stream.close()
    return found


@on(SQLITE)
def test_a_killed_worker_s_job_goes_on(service: Service, tiny: FrozenVLSM) -> None:
    fill(service.store, train=MANY)
    worker = service.begin("worker")
    with answered(service, tiny) as client:
        job = client.jobs.start("toys", author="mk", **LONG)
        wait_until(lambda: client.jobs.show(job.id).progress.get("epoch", 0) >= 1, "an epoch")
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        service.begin("worker")
        wait_until(lambda: client.jobs.show(job.id).attempt == 2, "a second attempt")
        assert resumed_soon(client, job)
        client.jobs.cancel(job.id, author="mk")
        assert end_of(client, job).state == "cancelled"


def resumed_soon(client: Client, job: JobInfo) -> bool:
    return bool(wait_until(lambda: resumed(client, job), "the run going on where it was"))


@on(SERVERS)
def test_a_worker_that_is_asked_to_end_hands_its_job_back(service: Service, tiny: FrozenVLSM) -> None:
    fill(service.store, train=MANY)
    worker = service.begin("worker")
    with answered(service, tiny) as client:
        job = client.jobs.start("toys", author="mk", **LONG)
        wait_until(lambda: client.jobs.show(job.id).progress.get("part") == "training", "training")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(DEADLINE_SECONDS) == 0
        waiting = client.jobs.show(job.id)
        assert (waiting.state, waiting.attempt) == ("queued", 0)
    assert "Traceback" not in service.said()


@on(SERVERS)
def test_two_workers_and_one_job(service: Service, tiny: FrozenVLSM) -> None:
    fill(service.store)
    for _ in range(2):
        service.begin("worker")
    with answered(service, tiny) as client:
        job = client.jobs.start("toys", author="mk")
        assert end_of(client, job).attempt == 1
        kinds = [event.kind for event in client.jobs.events(job.id)]
        assert kinds.count("running") == 1
        assert Registry(service.data_dir / "registry").versions("toys") == ["v0001"]


@on(SQLITE)
def test_a_policy_tunes_by_itself(service: Service, tiny: FrozenVLSM) -> None:
    fill(service.store)
    service.begin("worker")
    with answered(service, tiny) as client:
        assert client.jobs.policy("toys") == Policy.model_validate(QUICK)
        changed = Policy.model_validate({**QUICK, "after_labels": 5, "debounce_seconds": 0})
        client.jobs.set_policy("toys", changed, author="mk", reason="labels come in daily")
        first = wait_until(lambda: client.jobs.newest(dataset="toys"), "a job by policy")[0]
        assert (first.trigger, first.requested_by) == ("labels", "policy of toys")
        assert end_of(client, first).state == "succeeded"
        client.jobs.pin("toys", author="mk", reason="in a trial")
        fill(service.store, train=5, val=0, first=50)
        wait_until(lambda: len(client.jobs.newest(dataset="toys")) == 2, "a second job by policy")
        second = end_of(client, client.jobs.newest(dataset="toys")[0])
        assert second.state == "succeeded"
        assert second.result["decision"] == "kept"
        assert "v0001 is pinned" in second.result["reason"]
        assert client.dataset("toys").champion == "v0001"


@on(SQLITE)
def test_no_worker_outlives_its_server(service: Service) -> None:
    with served(service, "--worker") as (process, _):
        first = wait_until(lambda: children(process.pid), "the worker")[0]
        os.kill(first, signal.SIGKILL)
        second = wait_until(lambda: set(children(process.pid)) - {first}, "another worker").pop()
        process.send_signal(signal.SIGKILL)
        process.wait()
        wait_until(lambda: not Path(f"/proc/{second}").exists(), "the end of the worker")


def children(pid: int) -> list[int]:
    """Processes that a process has begun and that live."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            found += map(int, (task / "children").read_text().split())
        except FileNotFoundError:
            # The thread ended meanwhile.
            continue
    return found
