"""A server and workers as processes of their own, and the store that they share with the test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from job_parts import store_at

from trainer.labels.store import LabelStore

COMMAND = [sys.executable, "-m", "server.cli.main"]
# Beyond what a loaded machine keeps a living worker from saying so.
STALE_SECONDS = 12


class Service:
    """A server and, if asked for, its worker; and the store that they share with the test."""

    def __init__(self, folder: Path, base: Path, urls: dict[str, str]):
        self.data_dir, self.base, self.urls = folder / "data", base, urls
        named = {f"TUNEVLSEG_{name.upper()}": url for name, url in urls.items()}
        self.env = {
            **os.environ,
            **named,
            "TUNEVLSEG_JOB_STALE_SECONDS": str(STALE_SECONDS),
            "TUNEVLSEG_JOB_LOOK_SECONDS": "1",
            "TUNEVLSEG_WORKER_THREADS": "1",
            # Tests run beside other work on few cores, and these wait for the worker.
            "TUNEVLSEG_WORKER_NICE": "0",
            "OMP_NUM_THREADS": "1",
            "PYTHONUNBUFFERED": "1",
        }
        self.store: LabelStore = store_at(self.data_dir, urls.get("database_url"))
        self.log = folder / "log"
        self._processes: list[subprocess.Popen[bytes]] = []

    def begin(self, *words: str) -> subprocess.Popen[bytes]:
        options = ["--data-dir", str(self.data_dir), "--base", str(self.base), "--device", "cpu"]
        with self.log.open("ab") as out:
            process = subprocess.Popen(
                [*COMMAND, *words, *options], env=self.env, stdout=out, stderr=subprocess.STDOUT
            )
        self._processes.append(process)
        return process

    def end(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        self.store.database.close()

    def said(self) -> str:
        return self.log.read_text(errors="replace")
