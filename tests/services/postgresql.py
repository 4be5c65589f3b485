"""A real PostgreSQL, Debian's, with a database of its own for each test."""

from __future__ import annotations

import getpass
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pg8000.dbapi

from services.processes import DEADLINE_SECONDS, dying_with_us, running

DEBIAN = Path("/usr/lib/postgresql")
# Debian's package makes it. PostgreSQL refuses to run as root.
UNPRIVILEGED = "postgres"
USER = "tunevlseg"
# Names sort as in SQLite.
ENCODING = ["--encoding=UTF8", "--locale=C.UTF-8"]
# Tests lose nothing by a power cut.
FAST = ["fsync=off", "synchronous_commit=off", "full_page_writes=off", "shared_buffers=16MB"]


def programs() -> Path | None:
    """The folder of the newest PostgreSQL's programs, or None."""
    found = sorted(DEBIAN.glob("*/bin/initdb"), key=lambda path: int(path.parent.parent.name))
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    return Path(initdb).parent if initdb else None


def missing() -> str | None:
    """What of PostgreSQL is not installed, or None."""
    return None if programs() else "PostgreSQL is not installed (Debian: postgresql)"


@dataclass(frozen=True)
class Postgres:
    """A running PostgreSQL."""

    port: int
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1), repr=False)

    def url(self, database: str) -> str:
        """The address of a database, as SQLAlchemy takes it."""
        return f"postgresql+pg8000://{USER}@127.0.0.1:{self.port}/{database}"

    def create_database(self) -> str:
        """Make an empty database and give its name."""
        name = f"test_{next(self._numbers)}"
        self._command(f"CREATE DATABASE {name}")
        return name

    def drop_database(self, name: str) -> None:
        """Remove a database, whoever is still connected to it."""
        self._command(f"DROP DATABASE {name} WITH (FORCE)")

    @contextmanager
    def database(self) -> Iterator[str]:
        """The address of an empty database that is gone after the block."""
        name = self.create_database()
        try:
            yield self.url(name)
        finally:
            self.drop_database(name)

    def _command(self, statement: str) -> None:
        connection = pg8000.dbapi.connect(
            USER, host="127.0.0.1", port=self.port, database="postgres", timeout=DEADLINE_SECONDS
        )
        with closing(connection):
            # Databases are made and dropped outside transactions.
            connection.autocommit = True
            connection.cursor().execute(statement)


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Start an empty PostgreSQL that anyone on this machine may use; ends with the block.

    It runs as the user ``postgres`` where the tests run as root, so its files are in a folder of their own
    and not in the tests', which only their user can enter.
    """
    folder, user = programs(), UNPRIVILEGED if os.geteuid() == 0 else None
    assert folder is not None, missing()
    with tempfile.TemporaryDirectory(prefix="tunevlseg-postgres-") as made:
        data, log = Path(made) / "data", Path(made) / "log"
        if user is not None:
            shutil.chown(made, user, user)
        _initialise(folder, data, user)

        def command(port: int) -> list[str]:
            settings = [
                *FAST,
                "listen_addresses=127.0.0.1",
                f"port={port}",
                f"unix_socket_directories={made}",
            ]
            given = [word for setting in settings for word in ("-c", setting)]
            # Interrupted, it closes its connections and writes a checkpoint.
            return dying_with_us(
                [str(folder / "postgres"), "-D", str(data), *given], by=signal.SIGINT, user=user
            )

        with running(command, answers=_answers(folder), log=log, end=signal.SIGINT) as port:
            yield Postgres(port)


def _initialise(folder: Path, data: Path, user: str | None) -> None:
    initdb = [str(folder / "initdb"), "-D", str(data), f"--username={USER}", "--auth=trust", "--no-sync"]
    made = subprocess.run(
        dying_with_us([*initdb, *ENCODING], by=signal.SIGTERM, user=user),
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    assert made.returncode == 0, f"initdb as {user or getpass.getuser()}:\n{made.stdout}{made.stderr}"


def _answers(folder: Path) -> Callable[[int], bool]:
    def answers(port: int) -> bool:
        asked = [str(folder / "pg_isready"), "--quiet", "--host=127.0.0.1", f"--port={port}"]
        return subprocess.run(asked, check=False).returncode == 0

    return answers
