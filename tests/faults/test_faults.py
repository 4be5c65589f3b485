"""Worker, server or both are killed (-9) at random moments, again and again; nothing is lost or half-written.

``TUNEVLSEG_FAULT_ROUNDS`` says how many rounds each pair of database and queue gets, ``TUNEVLSEG_FAULT_SEED``
which moments: ``TUNEVLSEG_FAULT_ROUNDS=50 pytest tests/faults``.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx
import pytest
from fault_processes import Processes
from job_parts import QUICK, fill, half_image, png_of, store_at, wait_until
from sqlalchemy import func, select
from tiny_models import tiny_config, write_base

from models_store.registry import CHAMPION, Reference, Registry
from trainer.jobs.decisions import Decisions
from trainer.jobs.records import Jobs
from trainer.jobs.states import JobState
from trainer.labels.store import LabelStore
from trainer.labels.tables import AnnotationRow, JobRow

ROUNDS = int(os.environ.get("TUNEVLSEG_FAULT_ROUNDS", "6"))
SEED = int(os.environ.get("TUNEVLSEG_FAULT_SEED", "7"))
VICTIMS = (("worker",), ("server",), ("worker", "server"))
# Where a job is when the blow falls; "any" is wherever it happens to be.
AT_WORK = ("preparing", "tuning", "judging", "reporting")
MOMENTS = ("queued", *AT_WORK, "ended", "any")
# Six blows may well fall on two stages: where they fall depends on how fast the machine is.
MANY_ROUNDS = 20
# A moment that does not come is not waited for for long, and the blow falls so long after it.
MOMENT_SECONDS, LATER_SECONDS = 6.0, 0.25
STALE_SECONDS = 3.0
ATTEMPTS = 3


class Trial:
    """One service under fire, and what it acknowledged."""

    def __init__(self, folder: Path, urls: dict[str, str]):
        self.data_dir = folder / "data"
        self.data_dir.mkdir()
        options: dict[str, Any] = {
            "data_dir": self.data_dir,
            "base": str(write_base(folder / "tiny", tiny_config())),
            "device": "cpu",
            "backend": "torch",
            "job_stale_seconds": STALE_SECONDS,
            "job_look_seconds": 0.5,
            "job_attempts": ATTEMPTS,
            "worker_threads": 1,
            **urls,
        }
        self._address = folder / "port"
        self.processes = Processes(options, self._address)
        self.store: LabelStore = store_at(self.data_dir, urls.get("database_url"))
        self.jobs, self.registry = Jobs(self.store.database), Registry(self.data_dir / "registry")
        self.kept: set[int] = set()
        self.asked: set[str] = set()
        self._next = 1000

    @property
    def url(self) -> str:
        """Where the server is; somewhere that nobody is while there is none."""
        port = self._address.read_text() if self._address.exists() else "1"
        return f"http://127.0.0.1:{port}"

    def post(self, path: str, **request: Any) -> httpx.Response | None:
        """An answer; None where the server died over it."""
        try:
            return httpx.post(self.url + path, timeout=60, **request)
        except httpx.TransportError:
            return None

    def upload(self) -> None:
        """Send a label; what was acknowledged must be there for ever."""
        self._next += 1
        pixels, mask = half_image(self._next)
        files = {"image": ("i.png", png_of(pixels)), "mask": ("m.png", png_of(mask.astype("uint8") * 255))}
        form = {"phrase": "bright half", "annotator": "mk", "split": "train"}
        answer = self.post("/datasets/toys/labels", files=files, data=form)
        if answer is not None:
            assert answer.status_code == 201, answer.text
            self.kept |= set(answer.json()["annotation_ids"])

    def ask(self) -> None:
        """Ask for a job; what was accepted must come to an end."""
        answer = self.post("/datasets/toys/jobs", json={"author": "mk"})
        if answer is not None:
            assert answer.status_code == 202, answer.text
            self.asked.add(answer.json()["id"])

    def ready(self) -> bool:
        self.processes.check()
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def reached(self, moment: str) -> bool:
        """Whether the newest job is there by now, or past it."""
        newest = self.jobs.newest(limit=1)
        if moment == "any" or not newest:
            return True
        if newest[0].state.ended:
            return True
        order = MOMENTS.index
        at = newest[0].progress.get("stage", "queued") if newest[0].state is JobState.RUNNING else "queued"
        return order(str(at)) >= order(moment)


@pytest.fixture(params=["sqlite", "postgresql and redis"])
def trial(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Trial]:
    urls = {}
    if request.param != "sqlite":
        urls["database_url"] = request.getfixturevalue("postgres_url")
        urls["queue_url"] = request.getfixturevalue("redis_url")
    trial = Trial(tmp_path, urls)
    try:
        yield trial
    finally:
        trial.processes.end()
        trial.store.database.close()


def test_kills_at_random_moments(trial: Trial) -> None:
    chance = random.Random(SEED)
    fill(trial.store, policy=QUICK | {"warm_start": "champion"})
    struck: Counter[str] = Counter()
    for _ in range(ROUNDS):
        trial.processes.begin()
        wait_until(trial.ready, "the server")
        if not any(not job.state.ended for job in trial.jobs.newest()):
            trial.upload()
            trial.ask()
        victims, moment = chance.choice(VICTIMS), chance.choice(MOMENTS)
        later = chance.uniform(0, LATER_SECONDS)
        until = Event()
        busy = Thread(target=keep_sending, args=(trial, until))
        busy.start()
        try:
            wait_a_while(trial, moment)
            until.wait(later)
            struck[state(trial)] += 1
            trial.processes.kill(*victims)
        finally:
            until.set()
            busy.join()
        nothing_is_half(trial)
    trial.processes.begin()
    wait_until(trial.ready, "the server")
    for job in trial.asked:
        wait_until(lambda job=job: trial.jobs.get(job).state.ended, f"the end of {trial.jobs.get(job)}")
    nothing_is_half(trial)
    everything_came_to_an_end(trial)
    # It works as if nothing had been.
    trial.upload()
    trial.ask()
    wait_until(lambda: trial.jobs.newest(limit=1)[0].state.ended, "a last job")
    assert trial.jobs.newest(limit=1)[0].state is JobState.SUCCEEDED
    champion = trial.registry.aliases("toys")[CHAMPION]
    image = {"image": ("i.png", png_of(half_image(1)[0]))}
    answer = trial.post("/segment", files=image, data={"prompt": "bright half", "dataset": "toys"})
    assert answer is not None
    assert answer.json()["versions"]["checkpoint"]["version"] == champion
    # That blows fell on jobs at work, and not only between them; over many rounds, at various stages.
    assert struck.keys() & set(AT_WORK), struck
    assert ROUNDS < MANY_ROUNDS or len(struck) >= 3, struck


def keep_sending(trial: Trial, until: Event) -> None:
    """Labels come in while the blow falls."""
    while not until.is_set():
        trial.upload()
        until.wait(0.5)


def wait_a_while(trial: Trial, moment: str) -> None:
    try:
        wait_until(lambda: trial.reached(moment), moment, MOMENT_SECONDS)
    except AssertionError:
        # The job waits for a dead worker to count as such; then the blow falls now.
        return


def state(trial: Trial) -> str:
    newest = trial.jobs.newest(limit=1)
    if not newest:
        return "none"
    return str(newest[0].progress.get("stage") if newest[0].state is JobState.RUNNING else newest[0].state)


def nothing_is_half(trial: Trial) -> None:
    """What is visible right after a blow is whole."""
    with trial.store.database.reading() as session:
        running = select(func.count()).select_from(JobRow).where(JobRow.state == JobState.RUNNING)
        assert (session.scalar(running) or 0) <= 1
    assert trial.kept <= annotations(trial)
    if not trial.registry.has("toys"):
        return
    versions = trial.registry.versions("toys")
    for version in versions:
        # Reads every file and checks it against its digest.
        trial.registry.read(Reference("toys", version))
    assert set(trial.registry.aliases("toys").values()) <= set(versions)


def annotations(trial: Trial) -> set[int]:
    with trial.store.database.reading() as session:
        return set(session.scalars(select(AnnotationRow.id)))


def everything_came_to_an_end(trial: Trial) -> None:
    jobs = trial.jobs.newest(limit=1000)
    assert {job.id for job in jobs} >= trial.asked
    decisions = Decisions(trial.store, trial.registry)
    for job in jobs:
        assert job.state in (JobState.SUCCEEDED, JobState.FAILED), job
        events = trial.jobs.events(job.id)
        assert events[-1].kind == job.state
        if job.state is JobState.FAILED:
            assert job.cause is not None
            assert f"attempt {ATTEMPTS}" in job.cause
        else:
            decision = decisions.of_job(job.id)
            assert decision is not None
            assert decision.version == job.result["version"]
            assert decision.report is not None
            assert trial.store.blobs.read(decision.report)
    # Each job has one version at most, however often it was begun.
    made = [
        trial.registry.read(Reference("toys", version)).config.data["job"]
        for version in trial.registry.versions("toys")
    ]
    assert max(Counter(made).values()) == 1
    promoted = [each.version for each in decisions.newest("toys") if each.kind == "promoted"]
    assert promoted[0] == trial.registry.aliases("toys")[CHAMPION]
