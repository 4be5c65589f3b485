"""A server of one's own, in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from models_store.errors import StudioError

COMMAND = (sys.executable, "-m", "server.cli.main", "serve", "--port", "0", "--no-page", "--no-worker")
URL = re.compile(rb"TuneVLSeg Studio: (http://\S+)")
START_SECONDS = 300.0
STOP_SECONDS = 30.0
LOOK_SECONDS = 0.1
LOOK_TIMEOUT = 5.0


class ServerStartError(StudioError):
    """The server did not become ready; the message ends with what it said last."""


@contextmanager
def own_server(options: Sequence[str] = (), log: Path | None = None) -> Iterator[str]:
    """A server that lives as long as the block; its address, once it is ready.

    Args:
        options: Further options of ``tunevlseg serve``.
        log: Where its output goes. Default: kept until it ends, in case it does not start.

    Raises:
        ServerStartError: It ended, or was not ready in time.
    """
    with tempfile.TemporaryDirectory() as place:
        # A file, not a pipe: nobody has to read along for the server not to block.
        said = Path(place) / "server.log" if log is None else log
        with said.open("wb") as out:
            process = subprocess.Popen([*COMMAND, *options], stdout=out, stderr=subprocess.STDOUT)
        try:
            yield _ready(process, said)
        finally:
            _stop(process)


def _ready(process: subprocess.Popen[bytes], said: Path) -> str:
    deadline = time.monotonic() + START_SECONDS
    with httpx.Client(timeout=LOOK_TIMEOUT) as client:
        while time.monotonic() < deadline and process.poll() is None:
            found = URL.search(said.read_bytes())
            if found and _answers(client, found.group(1).decode()):
                return found.group(1).decode()
            time.sleep(LOOK_SECONDS)
    last = said.read_bytes().decode(errors="replace").strip()[-2000:]
    why = "did not become ready" if process.poll() is None else f"ended with code {process.returncode}"
    raise ServerStartError(f"the server {why}; it said: {last}")


def _answers(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(f"{url}/readyz").status_code == 200
    except httpx.TransportError:
        # It has printed its address and does not listen yet.
        return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
