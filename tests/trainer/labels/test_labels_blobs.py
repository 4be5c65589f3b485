from __future__ import annotations

import errno
import hashlib
import os

import pytest

from models_store.errors import DamagedError
from trainer.labels.blobs import BlobStore
from trainer.labels.errors import StoreFullError, UnknownLabelsError


class TestBlobs:
    def test_are_known_by_their_content(self, tmp_path):
        blobs = BlobStore(tmp_path / "blobs")
        digest = blobs.put(b"one")
        assert digest == hashlib.sha256(b"one").hexdigest() == blobs.put(b"one")
        assert blobs.read(digest) == b"one"
        assert digest in blobs
        assert list(blobs) == [digest]

    def test_a_damaged_file_is_found_out(self, tmp_path):
        blobs = BlobStore(tmp_path)
        digest = blobs.put(b"one")
        blobs.path(digest).write_bytes(b"two")
        with pytest.raises(DamagedError, match="changed or damaged"):
            blobs.read(digest)

    @pytest.mark.parametrize("digest", ["../../etc/passwd", "0" * 64, "", "A" * 64])
    def test_what_is_not_kept_is_refused(self, tmp_path, digest):
        with pytest.raises(UnknownLabelsError):
            BlobStore(tmp_path).path(digest)

    def test_a_full_disk_leaves_nothing_behind(self, tmp_path, monkeypatch):
        blobs = BlobStore(tmp_path / "blobs")

        def full(_descriptor: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(StoreFullError, match="disk is full"):
            blobs.put(b"one")
        assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == [".lock"]
