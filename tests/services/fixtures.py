"""Fixtures of real servers: each is started once, when the first test asks, and ends with the tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from services import postgresql, redis_server
from services.postgresql import Postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A running PostgreSQL; tests that need it are skipped where none is installed."""
    reason = postgresql.missing()
    if reason is not None:
        pytest.skip(reason)
    with postgresql.running_postgres() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """The address of an empty database in a real PostgreSQL, for this test alone."""
    with postgres.database() as url:
        yield url


@pytest.fixture(scope="session")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a running Redis; tests that need it are skipped where none is installed."""
    reason = redis_server.missing()
    if reason is not None:
        pytest.skip(reason)
    with redis_server.running_redis(tmp_path_factory.mktemp("redis")) as port:
        yield port


@pytest.fixture
def redis_url(redis_port: int) -> str:
    """The address of a real Redis that is empty when the test starts."""
    redis_server.empty(redis_port)
    return redis_server.url(redis_port)
