"""A full disk, a locked database, a killed process: nothing is lost, and nothing half-written."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from labels_parts import Uploads, blobs, file_of, rows, tasks, zipped
from serving import make_app
from starlette.testclient import TestClient
from test_serve_process import Process

from models_store.vlsm import FrozenVLSM
from trainer.labels.blobs import BlobStore
from trainer.labels.database import Database, sqlite_url
from trainer.labels.revisions import freeze
from trainer.labels.store import LabelStore

DEADLINE = 120.0
COMMAND = [sys.executable, "-c", "from server.cli.main import main; main()"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 3 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("may not mount a small disk here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def noise(seed: int, side: int) -> bytes:
    """A PNG that does not shrink."""
    return file_of(np.random.default_rng(seed).integers(0, 255, (side, side, 3), np.uint8))


def application(vlsm: FrozenVLSM, data: Path) -> FastAPI:
    app, _, _ = make_app(vlsm, data)
    return app


class TestFullDisk:
    def test_what_does_not_fit_is_refused_and_what_is_there_stays(
        self, tiny_hybrid: FrozenVLSM, small_disk: Path
    ) -> None:
        with TestClient(application(tiny_hybrid, small_disk / "data")) as client:
            uploads = Uploads(client, small_disk / "data")
            assert uploads.add(0).status_code == 201
            before = uploads.state()
            large = {f"images/{seed}.png": noise(seed, 700) for seed in range(3)}
            answer = uploads.archive(tasks() | large)
            assert (answer.status_code, answer.json()["type"]) == (507, "/problems/store-full"), answer.text
            assert uploads.state() == before
            # Single images, until one no longer fits.
            for seed in range(100):
                files = {"image": ("x.png", noise(100 + seed, 256))}
                answer = client.post("/datasets/toys/images", files=files, data={"author": "ann"})
                if answer.status_code != 201:
                    break
                before = uploads.state()
            assert (answer.status_code, answer.json()["type"]) == (507, "/problems/store-full"), answer.text
            # With room again nothing is lost, and what was refused is taken.
            subprocess.run(["mount", "-o", "remount,size=6m", small_disk], check=True)
            assert uploads.state()[0] == before[0]
            listed = client.get("/datasets/toys/images?limit=500").json()["images"]
            assert {image["picture"] for image in listed} <= blobs(small_disk / "data")
            assert client.get(f"/datasets/toys/images/{listed[0]['id']}/picture").status_code == 200
            assert (
                client.post("/datasets/toys/images", files=files, data={"author": "ann"}).status_code == 201
            )

    def test_an_upload_that_does_not_fit_while_it_arrives(
        self, tiny_hybrid: FrozenVLSM, small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
        with TestClient(application(tiny_hybrid, tmp_path / "data")) as client:
            uploads = Uploads(client, tmp_path / "data")
            answer = uploads.archive(os.urandom(5_000_000))
            assert (answer.status_code, answer.json()["type"]) == (507, "/problems/store-full"), answer.text
            assert uploads.archive(tasks()).status_code == 201


class TestBusyDatabase:
    def test_a_locked_database_is_503_and_nothing_is_lost(
        self, tiny_hybrid: FrozenVLSM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("trainer.labels.database.BUSY_SECONDS", 0.2)
        monkeypatch.setattr(Database.__init__, "__kwdefaults__", {"busy_seconds": 0.2})
        with TestClient(application(tiny_hybrid, tmp_path / "data")) as client:
            uploads = Uploads(client, tmp_path / "data")
            assert uploads.add(0).status_code == 201
            before = uploads.state()[0]
            other = sqlite3.connect(tmp_path / "data" / "labels.db", isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            for answer in (uploads.add(1), uploads.archive(tasks())):
                assert (answer.status_code, answer.json()["type"]) == (503, "/problems/store-busy")
                assert int(answer.headers["Retry-After"]) > 0
            # Reading goes on.
            assert len(client.get("/datasets/toys/images").json()["images"]) == 1
            other.execute("ROLLBACK")
            other.close()
            assert uploads.state()[0] == before
            assert uploads.add(1).status_code == 201
            assert uploads.archive(tasks()).json()["images"] == 4


def wait_for(condition: Callable[[], bool], process: subprocess.Popen) -> bool:
    """Whether something came true before a process ended."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        if condition():
            return True
        if process.poll() is not None:
            return False
    raise AssertionError("neither")


def usable(data: Path, least: int) -> None:
    """The store reads, and every file that a row refers to is there, whole."""
    store = LabelStore(Database(sqlite_url(data / "labels.db")), BlobStore(data / "blobs"))
    counts = store.counts("toys")
    assert counts.images >= least
    freeze(store, "toys", by="test")
    for digest in store.blobs:
        store.blobs.read(digest)
    store.database.close()


class TestKilled:
    """``kill -9`` in the middle of an upload."""

    def test_uploads_by_command(self, tmp_path: Path) -> None:
        data, archive = tmp_path / "data", tmp_path / "set.zip"
        first = tmp_path / "first.zip"
        first.write_bytes(zipped(tasks(2, 1)))
        archive.write_bytes(zipped(tasks(60, 20)))
        add = [*COMMAND, "labels", "add", "toys", "--data-dir", str(data)]
        subprocess.run([*add, first], check=True, capture_output=True)
        before, files = rows(data), blobs(data)
        generator = random.Random(7)
        moments = [
            (data / "incoming").is_dir,
            lambda: len(list((data / "incoming").glob("*/files/unpacked/masks/*"))) > generator.randrange(80),
            lambda: len(blobs(data)) > len(files),
            lambda: len(blobs(data)) > len(files) + 80,
        ]
        killed = 0
        for moment in moments:
            process = subprocess.Popen([*add, archive], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            reached = wait_for(moment, process)
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
            if process.returncode == -signal.SIGKILL and reached:
                killed += 1
            if rows(data) != before:
                # It had come to its end.
                break
            usable(data, 3)
            before = rows(data)
        assert killed >= 3
        subprocess.run([*add, archive], check=True, capture_output=True)
        assert rows(data)["images"] == 80
        usable(data, 80)
        # What the killed ones unpacked is gone.
        assert not [folder for folder in (data / "incoming").iterdir() if folder.is_dir()]

    def test_an_upload_to_a_service(self, tiny_folder: Path, tmp_path: Path) -> None:
        data = tmp_path / "data"
        options = (
            "--data-dir",
            str(data),
            "--base",
            str(tiny_folder),
            "--port",
            "0",
            "--no-page",
            "--no-worker",
        )
        archive = zipped(tasks(60, 20))
        server = Process(*options)
        try:
            url = f"{server.url()}/datasets/toys/labels"
            add(url, zipped(tasks(2, 1))).raise_for_status()
            before, files = rows(data), blobs(data)
            with ThreadPoolExecutor(1) as pool:
                answer = pool.submit(add, url, archive)
                assert wait_for(lambda: len(blobs(data)) > len(files) + 5, server.process)
                server.end(signal.SIGKILL)
                assert isinstance(answer.exception(timeout=DEADLINE), httpx.TransportError)
        finally:
            server.end(signal.SIGKILL)
        assert rows(data) == before
        usable(data, 3)
        again = Process(*options)
        try:
            answered = add(f"{again.url()}/datasets/toys/labels", archive)
            assert (answered.status_code, answered.json()["images"]) == (201, 77)
            assert not [folder for folder in (data / "incoming").iterdir() if folder.is_dir()]
        finally:
            again.end()


def add(url: str, archive: bytes) -> httpx.Response:
    return httpx.post(url, files={"archive": archive}, data={"annotator": "a"}, timeout=DEADLINE)
