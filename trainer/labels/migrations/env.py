"""Alembic's entry: runs on the connection it is handed, or on ``-x url=...`` of its command line."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, create_engine

from trainer.labels.tables import Table


def migrate(connection: Connection) -> None:
    """Bring a database to the revision asked for."""
    # SQLite changes a column by copying the table.
    context.configure(connection=connection, target_metadata=Table.metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    migrate(given)
else:
    with create_engine(context.get_x_argument(as_dictionary=True)["url"]).begin() as connection:
        migrate(connection)
