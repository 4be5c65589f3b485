"""The worker that ``tunevlseg serve`` starts: begun anew when it dies, ended with the server."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from server.settings import Settings

# A worker that dies at once is not begun anew in a hurry.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
LIVED_LONG = 60.0
END_SECONDS = 20.0
logger = logging.getLogger(__name__)


class WorkerChild:
    """A process that is kept alive.

    It holds the reading end of a pipe as its standard input, and ends with it: the kernel closes the other
    end however this process ends, also by kill -9.

    Args:
        command: What starts it.
    """

    def __init__(self, command: Sequence[str]):
        self._command = list(command)
        self._stopping, self._lock = Event(), Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = Thread(target=self._keep, name="worker's keeper", daemon=True)

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        process = self._process
        return None if process is None or process.poll() is not None else process.pid

    def start(self) -> None:
        """Begin it, and keep it."""
        self._thread.start()

    def stop(self) -> None:
        """Ask it to end, wait for that, and kill it if it takes too long."""
        with self._lock:
            self._stopping.set()
            process = self._process
        if process is not None:
            if process.stdin is not None:
                process.stdin.close()
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._thread.join()

    def _keep(self) -> None:
        import time

        pause = FIRST_PAUSE
        while True:
            with self._lock:
                if self._stopping.is_set():
                    return
                self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE)
            began = time.monotonic()
            code = self._process.wait()
            if self._stopping.is_set():
                return
            if self._process.stdin is not None:
                self._process.stdin.close()
            pause = FIRST_PAUSE if time.monotonic() - began > LIVED_LONG else min(2 * pause, LONGEST_PAUSE)
            logger.warning("the worker ended with code %d; another begins in %.0f seconds", code, pause)
            self._stopping.wait(pause)


@contextmanager
def worker_child(settings: Settings) -> Iterator[None]:
    """A worker beside the server, while the block lasts, if the settings want one."""
    if not settings.worker:
        yield
        return
    child = WorkerChild(worker_command(settings))
    child.start()
    try:
        yield
    finally:
        child.stop()


def worker_command(settings: Settings) -> list[str]:
    """What starts a worker with the settings of a server; the rest it reads from the environment."""
    options = {
        "--data-dir": str(settings.data_dir.absolute()),
        "--base": settings.base,
        "--device": settings.device,
    }
    given = [word for option in options.items() for word in option]
    return [sys.executable, "-m", "server.cli.main", "worker", "--with-server", *given]
