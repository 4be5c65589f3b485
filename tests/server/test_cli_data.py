"""``tunevlseg data`` on a filled data folder."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from server.cli.main import app
from trainer.data.dataset import open_dataset
from trainer.labels.blobs import BlobStore
from trainer.labels.database import Database, sqlite_url
from trainer.labels.likeness import fingerprint, pixels_digest
from trainer.labels.new import NewAnnotation, NewImage
from trainer.labels.store import LabelStore


def png(pixels: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    database = Database(sqlite_url(folder / "labels.db"))
    store = LabelStore(database, BlobStore(folder / "blobs"))
    store.create("toys", by="ann")
    for seed in range(6):
        pixels = np.random.default_rng(seed).integers(0, 255, (24, 24, 3), np.uint8)
        mask = store.blobs.put(png((pixels[..., 0] > 99).astype(np.uint8) * 255))
        mark = NewAnnotation(mask=mask, foreground=9, prompts={"p1": "x"}, annotator="ann")
        image = NewImage(
            name=f"{seed}.png",
            picture=store.blobs.put(png(pixels)),
            suffix=".png",
            pixels=pixels_digest(pixels),
            fingerprint=fingerprint(pixels),
            width=24,
            height=24,
            annotations=[mark],
        )
        store.add("toys", [image], by="ann")
    database.close()
    return folder


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
