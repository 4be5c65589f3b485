from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta

import pytest
from published_versions import published

from models_store.errors import BadInputError
from models_store.registry import CANDIDATE, CHAMPION, Registry
from models_store.removal import remove_version
from trainer.housekeeping.garbage import collect_files, collect_folders
from trainer.housekeeping.retention import Retention, removable
from trainer.labels.revisions import freeze, lay_out
from trainer.tuning.state import run_folder

LATER = time.time() + 10 * 24 * 3600


class TestFiles:
    def test_what_is_referred_to_stays(self, store):
        before = set(store.blobs)
        assert collect_files(store, now=LATER).files == 0
        assert set(store.blobs) == before

    def test_an_old_file_that_nothing_refers_to_goes(self, store):
        left = store.blobs.put(b"from an upload that was killed")
        assert collect_files(store).files == 0
        collected = collect_files(store, now=LATER)
        assert (collected.files, collected.freed) == (1, 30)
        assert left not in store.blobs

    def test_a_file_that_is_put_again_is_young(self, store):
        digest = store.blobs.put(b"x")
        old = time.time() - 30 * 24 * 3600
        os.utime(store.blobs.path(digest), (old, old))
        store.blobs.put(b"x")
        assert collect_files(store).files == 0

    def test_what_a_killed_writer_left_goes(self, store):
        left = store.blobs.root / "ab" / ".aside-1"
        left.parent.mkdir(exist_ok=True)
        left.write_bytes(b"half")
        assert collect_files(store, now=LATER).freed == 4
        assert not left.exists()


class TestFolders:
    def test_old_ones_go_and_are_made_anew(self, store, tmp_path):
        revision = freeze(store, "toys", by="ann")
        folder = lay_out(store, revision.digest, tmp_path / "revisions")
        assert collect_folders(store, [tmp_path / "revisions", tmp_path / "runs"]) == 0
        assert collect_folders(store, [tmp_path / "revisions"], now=LATER) == 1
        assert not folder.exists()
        assert lay_out(store, revision.digest, tmp_path / "revisions") == folder

    def test_a_run_at_work_stays_and_one_that_was_left_goes(self, store, tmp_path):
        runs = [tmp_path / "runs" / name for name in ("at-work", "left")]
        with run_folder(runs[0]):
            with run_folder(runs[1]):
                pass
            assert collect_folders(store, [tmp_path / "runs"], now=LATER) == 1
            assert [run.exists() for run in runs] == [True, False]


class TestRetention:
    @pytest.fixture
    def registry(self, tmp_path, tiny) -> Registry:
        registry = Registry(tmp_path / "registry")
        versions = [published(registry, tiny, "toys", seed=seed) for seed in range(6)]
        registry.move_alias(versions[0], CHAMPION, author="ann", reason="first")
        registry.move_alias(versions[2], CHAMPION, author="ann", reason="better")
        registry.move_alias(versions[3], CANDIDATE, author="ann", reason="newest")
        return registry

    def going(self, registry, **rule):
        then = datetime.now(UTC) + timedelta(days=100)
        found = removable(registry, "toys", Retention(**rule), now=then, pinned=["v0005"])
        return [reference.version for reference in found]

    def test_what_served_what_an_alias_means_and_what_is_pinned_stays(self, registry):
        assert self.going(registry, keep=1, days=30) == ["v0002"]
        assert self.going(registry, keep=5, days=30) == []
        assert self.going(registry, keep=1, days=200) == []

    def test_a_removed_version_is_gone_and_its_number_is_not_used_again(self, registry, tiny):
        (reference,) = removable(
            registry, "toys", Retention(keep=2), now=datetime.now(UTC) + timedelta(days=100)
        )
        remove_version(registry, reference)
        assert registry.versions("toys") == ["v0001", "v0003", "v0004", "v0005", "v0006"]
        assert published(registry, tiny, "toys", seed=9).version == "v0007"

    @pytest.mark.parametrize(("version", "said"), [("v0003", "champion"), ("v0006", "newest version")])
    def test_what_is_needed_cannot_be_removed(self, registry, version, said):
        with pytest.raises(BadInputError, match=said):
            remove_version(registry, registry.resolve(f"toys/{version}"))

    def test_a_rule_that_cannot_be_is_refused(self):
        with pytest.raises(BadInputError, match="keep 0 must be at least 1"):
            Retention(keep=0).check()
