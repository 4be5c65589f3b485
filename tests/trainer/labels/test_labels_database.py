from __future__ import annotations

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from models_store.errors import BadInputError
from trainer.labels.database import Database
from trainer.labels.tables import Table


class TestDatabase:
    def test_the_migrations_make_the_tables(self, store):
        with store.database.reading() as session:
            context = MigrationContext.configure(session.connection())
            assert compare_metadata(context, Table.metadata) == []

    @pytest.mark.parametrize("url", ["labels.db", "mysql://localhost/x", "oracle://x/y"])
    def test_other_databases_are_refused(self, url):
        with pytest.raises(BadInputError, match="write sqlite:"):
            Database(url)
