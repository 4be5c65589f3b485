"""The servers that tests start are real, empty for each test, and gone afterwards."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import redis
import sqlalchemy

from services import postgresql, redis_server
from services.postgresql import Postgres
from services.processes import running


def tables(url: str) -> list[str]:
    engine = sqlalchemy.create_engine(url)
    try:
        return sqlalchemy.inspect(engine).get_table_names()
    finally:
        engine.dispose()


class TestPostgres:
    def test_a_database_is_real_and_a_test_s_own(self, postgres: Postgres, postgres_url: str) -> None:
        engine = sqlalchemy.create_engine(postgres_url)
        with engine.begin() as connection:
            assert "PostgreSQL" in connection.scalar(sqlalchemy.text("SELECT version()"))
            assert connection.scalar(sqlalchemy.text("SHOW server_encoding")) == "UTF8"
            connection.execute(sqlalchemy.text("CREATE TABLE labels (id integer)"))
        engine.dispose()
        assert tables(postgres_url) == ["labels"]
        with postgres.database() as another:
            assert tables(another) == []

    def test_a_database_is_dropped_under_a_connection_left_open(self, postgres: Postgres) -> None:
        with postgres.database() as url:
            engine = sqlalchemy.create_engine(url)
            left = engine.connect()
            assert left.scalar(sqlalchemy.text("SELECT 1")) == 1
        with pytest.raises(sqlalchemy.exc.DBAPIError):
            tables(url)
        left.invalidate()
        engine.dispose()

    def test_it_is_gone_after_its_block(self) -> None:
        reason = postgresql.missing()
        if reason is not None:
            pytest.skip(reason)
        with postgresql.running_postgres() as own:
            url = own.url(own.create_database())
            assert tables(url) == []
        with pytest.raises(sqlalchemy.exc.DBAPIError):
            tables(url)


class TestRedis:
    @pytest.mark.parametrize("turn", [1, 2])
    def test_it_is_empty_for_each_test(self, redis_url: str, turn: int) -> None:
        with redis.Redis.from_url(redis_url) as client:
            assert client.dbsize() == 0
            client.set("turn", turn)
            assert client.info("persistence")["aof_enabled"] == 0
            assert client.config_get("save") == {"save": ""}

    def test_it_is_gone_after_its_block(self, tmp_path: Path) -> None:
        reason = redis_server.missing()
        if reason is not None:
            pytest.skip(reason)
        with redis_server.running_redis(tmp_path) as port, redis_server.client(port) as client:
            assert client.ping()
        with redis_server.client(port) as client, pytest.raises(redis.ConnectionError):
            client.ping()


class TestProcesses:
    def test_a_server_that_ends_is_tried_anew_on_another_port(self, tmp_path: Path) -> None:
        asked: list[int] = []

        def command(port: int) -> list[str]:
            asked.append(port)
            return ["false"] if len(asked) == 1 else ["sleep", "600"]

        with running(command, answers=lambda port: True, log=tmp_path / "log", end=signal.SIGTERM) as port:
            assert asked[-1] == port
        assert len(asked) == 2

    def test_a_server_that_never_starts_says_why(self, tmp_path: Path) -> None:
        with (
            pytest.raises(AssertionError, match="no such cluster"),
            running(
                lambda port: ["sh", "-c", "echo no such cluster; exit 1"],
                answers=lambda port: False,
                log=tmp_path / "log",
                end=signal.SIGTERM,
            ),
        ):
            pytest.fail("it cannot have started")

    def test_a_killed_test_run_leaves_no_server(self, tmp_path: Path) -> None:
        reason = redis_server.missing()
        if reason is not None:
            pytest.skip(reason)
        script = (
            "import sys, pathlib; from services.redis_server import running_redis\n"
            "with running_redis(pathlib.Path(sys.argv[1])) as port:\n"
            "    print(port, flush=True); sys.stdin.read()"
        )
        with subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parent.parent,
        ) as run:
            assert run.stdout is not None
            port = int(run.stdout.readline())
            with redis_server.client(port) as client:
                # The command waits longer than a server takes to end.
                run.kill()
                with pytest.raises(redis.ConnectionError):
                    client.blpop(["nothing"], timeout=60)
