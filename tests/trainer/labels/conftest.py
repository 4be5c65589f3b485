"""Every test of the store runs on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from stored_labels import store_in

from trainer.labels.store import LabelStore


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LabelStore]:
    url = None if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    store = store_in(tmp_path, url)
    store.create("toys", by="ann")
    yield store
    store.database.close()
