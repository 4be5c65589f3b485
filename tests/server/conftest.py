"""Fixtures of the server's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from job_parts import fill, store_at
from jobs_api import Api
from live import running
from serving import make_app, publish

from models_store.registry import CHAMPION
from models_store.vlsm import FrozenVLSM
from server.client import Client


@pytest.fixture
def api(tiny: FrozenVLSM, tmp_path: Path) -> Iterator[Api]:
    """An application that runs and has nothing yet."""
    app, registry, settings = make_app(tiny, tmp_path / "data")
    with running(app) as url, Client(url) as client, httpx.Client(base_url=url, timeout=60) as http:
        api = Api(url, client, http, registry, settings.data_dir)
        yield api
        api.close()


@pytest.fixture
def toys(api: Api, tiny: FrozenVLSM) -> Api:
    """With a labelled dataset and two versions, of which the first is champion."""
    api.opened = store_at(api.data_dir)
    fill(api.store, train=1, val=1)
    first = publish(api.registry, tiny, "toys", "coop")
    publish(api.registry, tiny, "toys", "coop", seed=2)
    api.registry.move_alias(first, CHAMPION, author="t", reason="first")
    return api
