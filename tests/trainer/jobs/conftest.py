"""Every test of jobs that needs a database runs on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from job_parts import store_at

from trainer.jobs.claims import Claims
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
