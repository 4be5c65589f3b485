"""Every test of jobs that needs a database runs on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from job_parts import store_at
from job_place import Place

from models_store.vlsm import FrozenVLSM
from trainer.jobs.claims import Claims
from trainer.jobs.queue import JobQueue, open_queue
from trainer.jobs.records import Jobs
from trainer.labels.store import LabelStore


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LabelStore]:
    url = None if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    store = store_at(tmp_path, url)
    store.create("toys", by="ann")
    store.create("bones", by="ann")
    yield store
    store.database.close()


@pytest.fixture
def jobs(store: LabelStore) -> Jobs:
    return Jobs(store.database)


@pytest.fixture
def claims(store: LabelStore) -> Claims:
    return Claims(store.database)


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[JobQueue]:
    queue = open_queue(f"sqlite:///{tmp_path / 'queue.db'}")
    yield queue
    queue.close()


@pytest.fixture
def place(tmp_path: Path, tiny: FrozenVLSM, queue: JobQueue) -> Iterator[Place]:
    place = Place(tmp_path / "data", tiny, queue)
    yield place
    place.store.database.close()
