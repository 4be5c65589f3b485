"""The database and the queue as the compose file sets them up, run here by the same programs."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
import redis
import sqlalchemy
from deployment_files import SECRETS, services
from services import postgresql, redis_server
from services.postgresql import Postgres
from services.processes import DEADLINE_SECONDS, dying_with_us, running


def healthy(service: str, *options: str) -> bool:
    """Whether a service's own check is content; the options lead it to the port it has here."""
    kind, program, *given = services()[service]["healthcheck"]["test"]
    assert kind == "CMD"
    folder = postgresql.programs()
    path = os.pathsep.join(filter(None, [str(folder) if folder else "", os.environ["PATH"]]))
    env = os.environ | {"PATH": path} | services()[service]["environment"]
    asked = subprocess.run([program, *options, *given], capture_output=True, check=False, env=env)
    return asked.returncode == 0


class TestQueue:
    def test_it_starts_asks_for_the_password_and_keeps_every_job(self, tmp_path: Path) -> None:
        reason = redis_server.missing()
        if reason is not None:
            pytest.skip(reason)
        queue = services()["queue"]
        address = services()["server"]["environment"]["TUNEVLSEG_QUEUE_URL"]

        def command(port: int) -> list[str]:
            options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(tmp_path)]
            return dying_with_us([*queue["command"], *options], by=signal.SIGTERM)

        def answers(port: int) -> bool:
            return healthy("queue", "-p", str(port))

        for turn in range(2):
            with running(command, answers=answers, log=tmp_path / f"log-{turn}", end=signal.SIGTERM) as port:
                here = address.replace("@queue:6379", f"@127.0.0.1:{port}")
                with redis.Redis.from_url(here) as client:
                    # The second turn finds what the first one wrote: jobs outlive a restart.
                    assert client.llen("jobs") == turn
                    client.rpush("jobs", "tune busi")
                    assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
                with (
                    redis.Redis(port=port, password=SECRETS["POSTGRES_PASSWORD"]) as wrong,
                    pytest.raises(redis.AuthenticationError),
                ):
                    wrong.ping()

    def test_it_is_not_healthy_where_the_password_is_another(self, redis_port: int) -> None:
        with redis.Redis(port=redis_port, socket_timeout=DEADLINE_SECONDS) as client:
            client.config_set("requirepass", "another")
            try:
                assert not healthy("queue", "-p", str(redis_port))
            finally:
                client.config_set("requirepass", "")


class TestDatabase:
    def test_it_is_made_as_the_tests_databases_are(self) -> None:
        assert services()["database"]["environment"]["POSTGRES_INITDB_ARGS"].split() == postgresql.ENCODING

    def test_its_check_tells_a_server_from_none(self, postgres: Postgres) -> None:
        assert healthy("database", f"--port={postgres.port}")
        assert not healthy("database", "--port=1")

    @pytest.mark.parametrize("name", ["server", "worker", "server-gpu", "worker-gpu"])
    def test_the_address_names_user_database_and_host_of_the_service(self, name: str) -> None:
        url = sqlalchemy.make_url(services()[name]["environment"]["TUNEVLSEG_DATABASE_URL"])
        assert url.drivername == "postgresql+pg8000"
        of_service = services()["database"]["environment"]
        assert url.host == "database"
        assert url.username == of_service["POSTGRES_USER"]
        assert url.password == of_service["POSTGRES_PASSWORD"]
        assert url.database == of_service["POSTGRES_DB"]
