from __future__ import annotations

import os
import stat
import tarfile
from pathlib import Path

import pytest
from published_versions import published
from stored_labels import store_in

from models_store.errors import BadInputError, DamagedError
from models_store.registry import CHAMPION, Registry
from trainer.housekeeping.backup import back_up
from trainer.housekeeping.restore import restore
from trainer.housekeeping.rows import TABLES, table_lines
from trainer.labels.revisions import freeze, manifest, revisions


def rows_of(store) -> dict[str, list[bytes]]:
    with store.database.reading() as session:
        return {name: list(table_lines(session, name)) for name in TABLES}


@pytest.fixture
def registry(tmp_path, tiny) -> Registry:
    registry = Registry(tmp_path / "data" / "registry")
    registry.move_alias(published(registry, tiny, "toys", seed=1), CHAMPION, author="ann", reason="first")
    return registry


@pytest.fixture
def backup(store, registry, tmp_path) -> Path:
    key = tmp_path / "data" / "keys" / "pseudonyms"
    key.parent.mkdir()
    key.write_bytes(b"secret")
    back_up(store, registry, tmp_path / "all.tar", keys=[key])
    return tmp_path / "all.tar"


class TestBackup:
    @pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
    def test_restores_to_the_same_on_either_database(self, store, registry, backup, tmp_path, kind, request):
        url = None if kind == "sqlite" else request.getfixturevalue("postgres_url")
        again = store_in(tmp_path / "again", url)
        done = restore(again, tmp_path / "again" / "registry", backup, keys=tmp_path / "again" / "keys")
        assert (done.files, done.datasets) == (9, 1)
        assert rows_of(again) == rows_of(store)
        (revision,) = revisions(again, "toys")
        assert manifest(again, revision.digest) == manifest(store, revision.digest)
        other = Registry(tmp_path / "again" / "registry")
        assert other.aliases("toys") == registry.aliases("toys")
        assert other.history("toys") == registry.history("toys")
        assert (
            other.read(other.resolve("toys")).pack.digest
            == registry.read(registry.resolve("toys")).pack.digest
        )
        key = tmp_path / "again" / "keys" / "pseudonyms"
        assert key.read_bytes() == b"secret"
        assert stat.S_IMODE(key.stat().st_mode) == stat.S_IMODE(backup.stat().st_mode) == 0o600
        # New rows are numbered after the restored ones.
        again.create("more", by="ann")
        assert freeze(again, "toys", by="bob") == revision
        again.database.close()

    def test_what_is_there_is_not_written_over(self, store, registry, backup, tmp_path):
        with pytest.raises(BadInputError, match="is there already"):
            back_up(store, registry, backup)
        with pytest.raises(BadInputError, match="holds checkpoints"):
            restore(store, registry.root, backup, keys=tmp_path / "keys")
        store.create("others", by="ann")
        with pytest.raises(BadInputError, match="holds labelled data"):
            restore(store, tmp_path / "elsewhere", backup, keys=tmp_path / "keys")

    def test_a_damaged_one_puts_nothing_in_place(self, backup, tmp_path):
        content = bytearray(backup.read_bytes())
        with tarfile.open(backup) as tar:
            member = next(m for m in tar if m.name.startswith("blobs/"))
        content[member.offset_data] ^= 1
        again = store_in(tmp_path / "again")
        for damaged, said in (
            (bytes(content), "is not what was written"),
            (bytes(content[: len(content) // 2]), "is not a whole backup"),
            (b"not a tar", "is not a whole backup"),
        ):
            backup.write_bytes(damaged)
            with pytest.raises(DamagedError, match=said):
                restore(again, tmp_path / "again" / "registry", backup, keys=tmp_path / "again" / "keys")
        assert again.names() == []
        assert list(again.blobs) == []
        assert not (tmp_path / "again" / "registry").exists()
        again.database.close()

    def test_one_that_was_killed_is_done_again(self, store, registry, backup, tmp_path, monkeypatch):
        again = store_in(tmp_path / "again")
        target = tmp_path / "again" / "registry"
        rename = os.rename

        def killed(source, destination):
            if Path(destination) == target:
                raise KeyboardInterrupt
            rename(source, destination)

        monkeypatch.setattr(os, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            restore(again, target, backup, keys=tmp_path / "again" / "keys")
        monkeypatch.undo()
        assert not target.exists()
        restore(again, target, backup, keys=tmp_path / "again" / "keys")
        assert rows_of(again) == rows_of(store)
        assert Registry(target).aliases("toys") == registry.aliases("toys")
        again.database.close()
