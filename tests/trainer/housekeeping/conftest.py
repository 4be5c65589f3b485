from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from stored_labels import filled, store_in

from trainer.labels.revisions import freeze
from trainer.labels.store import LabelStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LabelStore]:
    """Four labelled images, frozen once."""
    store = filled(store_in(tmp_path / "data"), 4)
    freeze(store, "toys", by="ann")
    yield store
    store.database.close()
