"""``tunevlseg data`` on a filled data folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from stored_labels import filled, store_in
from typer.testing import CliRunner

from server.cli.main import app
from trainer.data.dataset import open_dataset
from trainer.labels.blobs import BlobStore


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    filled(store_in(tmp_path / "data"), 6).database.close()
    return tmp_path / "data"


def run(data_dir: Path, *words: str) -> str:
    result = CliRunner().invoke(app, ["data", *words, "--data-dir", str(data_dir)], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


class TestDataCommands:
    def test_an_export_can_be_read(self, data_dir, tmp_path):
        said = run(data_dir, "export", "toys", str(tmp_path / "out"), "--format", "coco")
        assert "revision 1 of toys" in said
        items = [item for split in open_dataset(tmp_path / "out").splits.values() for item in split]
        assert len(items) == 6

    def test_a_backup_is_restored_into_an_empty_folder(self, data_dir, tmp_path):
        assert "12 files" in run(data_dir, "backup", str(tmp_path / "all.tar"))
        again = tmp_path / "again"
        assert "12 files" in run(again, "restore", str(tmp_path / "all.tar"))
        assert "revision 1 of toys" in run(again, "export", "toys", str(tmp_path / "out"))

    def test_gc_leaves_what_is_needed(self, data_dir):
        assert "removed 0 files" in run(data_dir, "gc", "--grace-hours", "0")
        left = BlobStore(data_dir / "blobs").put(b"left")
        assert "removed 1 files (4 B)" in run(data_dir, "gc", "--grace-hours", "0")
        assert left not in BlobStore(data_dir / "blobs")
