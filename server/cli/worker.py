"""``tunevlseg worker``: tunes in the background, in a process of its own."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.common import Base, DataDir, Device

if TYPE_CHECKING:
    from threading import Event

    from server.settings import Settings
    from trainer.jobs.run import Base as LoadedBase
    from trainer.jobs.worker import Worker
    from trainer.labels.store import LabelStore

# How long the database may be away when a worker starts before it looks again.
DATABASE_LOOK_SECONDS = 2.0
# What is left of a job's step once nobody wants it any more.
ORPHAN_SECONDS = 15.0


def worker(
    data_dir: DataDir = None,
    base: Base = None,
    device: Device = None,
    threads: Annotated[
        int | None,
        typer.Option(
            envvar="TUNEVLSEG_WORKER_THREADS", min=1, help="Processor threads. Default: half of the cores."
        ),
    ] = None,
    with_server: Annotated[bool, typer.Option("--with-server", hidden=True)] = False,
) -> None:
    """Do the jobs that the server and policies ask for, until stopped (Ctrl-C or SIGTERM).

    Jobs are in the database (`TUNEVLSEG_DATABASE_URL`); a queue (`TUNEVLSEG_QUEUE_URL`) wakes workers. Any
    number of them may work side by side, also on other machines that share the data directory. Asked to
    stop, it hands its job back, which goes on where it was. `tunevlseg serve` starts one unless told not to.
    """
    from threading import Event

    from server.logs import configure_logging
    from server.settings import read_settings

    settings = read_settings(data_dir=data_dir, base=base, device=device, worker_threads=threads)
    configure_logging(settings.log_format, settings.log_level)
    stopping = Event()
    _end_on_signals(stopping)
    if with_server:
        _end_with_server(stopping)
    step_back(settings)
    store = open_store(settings, stopping)
    if store is None:
        return
    build_worker(settings, store).work(stopping)
    store.database.close()


def step_back(settings: Settings) -> None:
    """Leave the processor to the server where both want it; before torch is loaded, which reads this once."""
    # Threads that spin while they wait take from others what they do not use.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    os.nice(settings.worker_nice)


def open_store(settings: Settings, stopping: Event) -> LabelStore | None:
    """The store, as soon as its database can be reached; None if the worker is to end before."""
    import logging

    from trainer.labels.blobs import BlobStore
    from trainer.labels.database import Database
    from trainer.labels.errors import StoreBusyError, StoreFullError
    from trainer.labels.store import LabelStore

    while not stopping.is_set():
        try:
            return LabelStore(Database(settings.labels_url), BlobStore(settings.blobs_root))
        except (StoreBusyError, StoreFullError) as error:
            logging.getLogger(__name__).warning("the database cannot be opened: %s", error)
            stopping.wait(DATABASE_LOOK_SECONDS)
    return None


def build_worker(settings: Settings, store: LabelStore) -> Worker:
    """A worker on the settings' database, queue and base model."""
    from trainer.jobs.claims import Claims
    from trainer.jobs.queue import open_queue
    from trainer.jobs.records import Jobs
    from trainer.jobs.run import TuningJobs
    from trainer.jobs.triggers import Triggers
    from trainer.jobs.worker import BEAT_SHARE, Worker

    return Worker(
        claims=Claims(store.database),
        queue=open_queue(settings.jobs_url),
        triggers=Triggers(store, Jobs(store.database)),
        run=TuningJobs(store, settings.data_dir, load_base=base_loader(settings)),
        beat_seconds=settings.job_stale_seconds * BEAT_SHARE,
        stale_seconds=settings.job_stale_seconds,
        attempts=settings.job_attempts,
        look_seconds=settings.job_look_seconds,
    )


def base_loader(settings: Settings) -> Callable[[], LoadedBase]:
    """Loads the base model when the first job needs it."""

    def load() -> LoadedBase:
        from models_store.allocation import keep_freed_memory
        from server.cli.common import open_base
        from trainer.jobs.run import Base as LoadedBase

        keep_freed_memory()
        return LoadedBase(*open_base(settings, settings.worker_threads or _half_of_the_cores()))

    return load


def _half_of_the_cores() -> int:
    return max(1, len(os.sched_getaffinity(0)) // 2)


def _end_on_signals(stopping: Event) -> None:
    import signal

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())


def _end_with_server(stopping: Event) -> None:
    """End when standard input does: the server holds its other end, and lets go of it however it ends."""
    import time
    from threading import Thread

    def watch() -> None:
        while os.read(0, 1):
            pass
        stopping.set()
        # A job that does not come to a step by then is lost to this process: no orphan is to stay.
        time.sleep(ORPHAN_SECONDS)
        os._exit(1)

    Thread(target=watch, daemon=True, name="server's pipe").start()
