"""All rows of the database as JSON lines, the same for every kind of database."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Integer, func, insert, select, text
from sqlalchemy.orm import Session

from models_store.errors import DamagedError
from trainer.labels.tables import Moment, Table

TABLES = {table.name: table for table in Table.metadata.sorted_tables}
"""In an order in which rows can be added: what is referred to comes first."""

PORTION = 500


def table_lines(session: Session, name: str) -> Iterator[bytes]:
    """The rows of a table, a line of JSON each, in order of their keys."""
    table = TABLES[name]
    for row in session.execute(select(table).order_by(*table.primary_key)).mappings():
        content = {
            key: value.isoformat() if isinstance(value, datetime) else value for key, value in row.items()
        }
        yield json.dumps(content, sort_keys=True).encode() + b"\n"


def is_empty(session: Session) -> bool:
    """Whether no table has a row."""
    return not any(session.scalar(select(func.count()).select_from(table)) for table in TABLES.values())


def add_lines(session: Session, name: str, lines: Iterable[bytes]) -> None:
    """Add rows that :func:`table_lines` gave.

    Raises:
        DamagedError: A line does not read as a row of the table.
    """
    table = TABLES[name]
    portion: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        try:
            content = json.loads(line)
            portion.append({column.name: _value(column, content[column.name]) for column in table.columns})
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedError(f"line {number} of table {name} is not one of its rows: {error!r}") from error
        if len(portion) == PORTION:
            session.execute(insert(table), portion)
            portion = []
    if portion:
        session.execute(insert(table), portion)


def count_on(session: Session) -> None:
    """Let new rows be numbered after those that were added with their numbers."""
    if session.get_bind().dialect.name != "postgresql":
        return
    for table in TABLES.values():
        if isinstance(table.c.id.type, Integer):
            counter = f"pg_get_serial_sequence('{table.name}', 'id')"
            highest = f"(SELECT max(id) FROM {table.name})"
            session.execute(text(f"SELECT setval({counter}, {highest}) WHERE {highest} IS NOT NULL"))


def _value(column: Column[Any], value: Any) -> Any:
    moment = isinstance(value, str) and isinstance(column.type, Moment)
    return datetime.fromisoformat(value) if moment else value
