"""The database: SQLite with a write-ahead log by default, PostgreSQL by URL."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from models_store.errors import BadInputError
from trainer.labels.errors import StoreBusyError, StoreFullError

MIGRATIONS = Path(__file__).with_name("migrations")
BUSY_SECONDS = 10.0
WRITING = "tunevlseg_writing"
# The second is what becomes of the log's index where there is no room for it.
FULL = ("SQLITE_FULL", "SQLITE_IOERR_SHMSIZE")
# Any number; what matters is that every process takes the same.
UPGRADE_LOCK = 7_318_004


def sqlite_url(path: Path) -> str:
    """The URL of an SQLite file."""
    return f"sqlite:///{path}"


def is_made(url: str) -> bool:
    """Whether a database is there, for those who only ask what it holds: opening one makes an SQLite file."""
    parsed = make_url(url)
    return parsed.get_backend_name() != "sqlite" or Path(parsed.database or "").is_file()


class Database:
    """Connections to one database, brought up to date when opened.

    Args:
        url: ``sqlite:///file`` or ``postgresql+pg8000://user@host/name``.
        busy_seconds: How long a writer waits for another before :class:`StoreBusyError`.

    Raises:
        BadInputError: The URL is none of these.
        StoreBusyError: The database cannot be reached.
    """

    def __init__(self, url: str, *, busy_seconds: float = BUSY_SECONDS):
        self.url = url
        self._engine = _engine(url, busy_seconds)
        self._upgrade()

    def close(self) -> None:
        """Let go of all connections."""
        self._engine.dispose()

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file of SQLite's."""
        return self._engine.dialect.name == "sqlite"

    @contextmanager
    def reading(self, *, frozen: bool = False) -> Iterator[Session]:
        """A session that keeps nothing; ``frozen`` sees one state of the database to its end."""
        engine = self._engine
        if frozen and not self.is_sqlite:
            # SQLite's readers do so anyhow.
            engine = engine.execution_options(isolation_level="REPEATABLE READ")
        with translated(), Session(engine, expire_on_commit=False) as session:
            yield session
            session.rollback()

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session whose changes are kept on leaving, all or none.

        Raises:
            StoreBusyError: Another writer held the database for too long, or it went away.
            StoreFullError: The disk is full.
        """
        # SQLite's writers queue up here: a reader that turned writer half way could not wait for
        # another, it would have to fail.
        writers = self._engine.execution_options(**{WRITING: True})
        with translated(), Session(writers, expire_on_commit=False) as session, session.begin():
            session.connection()
            yield session

    def _upgrade(self) -> None:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        writers = self._engine.execution_options(**{WRITING: True})
        with translated(), writers.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": UPGRADE_LOCK})
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


@contextmanager
def translated() -> Iterator[None]:
    """Turn what a database says of its state into the store's errors."""
    try:
        yield
    except SQLAlchemyError as error:
        said = str(error.orig) if isinstance(error, DBAPIError) else str(error)
        code = getattr(error.orig, "sqlite_errorname", "") if isinstance(error, DBAPIError) else ""
        if code in FULL or any(words in said for words in ("disk is full", "No space left", "disk full")):
            raise StoreFullError("the disk that holds the database is full; nothing was written") from error
        if isinstance(error, OperationalError) or (isinstance(error, DBAPIError) and _away(error)):
            raise StoreBusyError(
                f"the database is locked or away ({said[:200]}); nothing was written, try again"
            ) from error
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreFullError("the disk is full; nothing was written") from error
        raise


def _away(error: DBAPIError) -> bool:
    """Whether a driver lost its server; pg8000 has one class for that."""
    return error.connection_invalidated or type(error.orig).__name__ == "InterfaceError"


def _engine(url: str, busy_seconds: float) -> Engine:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise BadInputError(f"{url!r} is not a database's URL; {_ACCEPTED}") from error
    if parsed.get_backend_name() == "sqlite":
        if parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        # Connections to a file are cheap, and a pool would hand them from one thread to another.
        options: dict[str, Any] = {"poolclass": NullPool, "connect_args": {"timeout": busy_seconds}}
        engine = create_engine(parsed, **options)
        _prepare_sqlite(engine, busy_seconds)
        return engine
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+pg8000")
    if parsed.drivername != "postgresql+pg8000":
        raise BadInputError(f"{parsed.drivername!r} is not a database this service uses; {_ACCEPTED}")
    try:
        return create_engine(parsed, pool_pre_ping=True)
    except ModuleNotFoundError as error:
        raise BadInputError(
            "PostgreSQL needs the package pg8000: pip install 'tunevlseg-studio[postgres]'"
        ) from error


_ACCEPTED = "write sqlite:////path/labels.db or postgresql+pg8000://user:password@host/name"


def _prepare_sqlite(engine: Engine, busy_seconds: float) -> None:
    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        # The driver's own transactions begin too late and cannot be told to be a writer's.
        connection.isolation_level = None
        for setting in (
            f"busy_timeout = {int(busy_seconds * 1000)}",
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
        ):
            connection.execute(f"PRAGMA {setting}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writing = connection.get_execution_options().get(WRITING)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
