from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from housekeeping_parts import filled

from trainer.labels.store import LabelStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LabelStore]:
    store = filled(tmp_path)
    yield store
    store.database.close()
