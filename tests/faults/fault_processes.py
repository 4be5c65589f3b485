"""The server and the worker as processes that begin quickly: forked from one that has imported everything."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from threading import Event
from typing import Any

import torch
import uvicorn

from models_store.files import replace_file
from server.app import create_app
from server.cli.common import build_engine
from server.cli.worker import build_worker, open_store
from server.settings import read_settings
from trainer.jobs.run import TuningJobs  # noqa: F401 - imported once, before the forks

PRELOADED = [__name__]


def work(options: dict[str, Any]) -> None:
    """What ``tunevlseg worker`` does, until SIGTERM."""
    torch.set_num_threads(1)
    stopping = Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    settings = read_settings(**options)
    store = open_store(settings, stopping)
    if store is not None:
        build_worker(settings, store).work(stopping)


def serve(options: dict[str, Any], address: Path) -> None:
    """What ``tunevlseg serve --no-page --no-worker`` does, until SIGTERM; its port is in a file then."""
    torch.set_num_threads(1)
    settings = read_settings(**options)
    app = create_app(engine=build_engine(settings), settings=settings)
    # Whichever is free: one that was free before the last server died may be another's by now.
    listening = socket.create_server(("127.0.0.1", 0))
    replace_file(address, str(listening.getsockname()[1]).encode())
    uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listening])


class Processes:
    """A server and a worker that are begun, killed and begun again.

    Args:
        options: Settings of both.
        address: The file with the server's port.
    """

    def __init__(self, options: dict[str, Any], address: Path):
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(PRELOADED)
        self._options, self._address = options, address
        self._alive: dict[str, ForkServerProcess] = {}

    def begin(self) -> None:
        """Begin those that do not live."""
        for name, target, more in (("worker", work, ()), ("server", serve, (self._address,))):
            if name not in self._alive:
                if name == "server":
                    self._address.unlink(missing_ok=True)
                process = self._context.Process(target=target, args=(self._options, *more))
                process.start()
                self._alive[name] = process

    def check(self) -> None:
        """Raise AssertionError if one ended by itself."""
        for name, process in self._alive.items():
            assert process.is_alive(), f"the {name} ended by itself with code {process.exitcode}"

    def kill(self, *names: str) -> None:
        """Kill -9, one right after the other."""
        for name in names:
            process = self._alive[name]
            assert process.is_alive(), f"the {name} ended by itself with code {process.exitcode}"
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
        for name in names:
            self._alive.pop(name).join()

    def end(self) -> None:
        """End all, whatever they are at."""
        for process in self._alive.values():
            process.kill()
            process.join()
        self._alive.clear()
