"""A data folder with a worker in this process; everything else is as in a worker of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import torch
from job_parts import QUICK, store_at

from models_store.registry import Registry
from models_store.vlsm import FrozenVLSM
from trainer.jobs.claims import Claims
from trainer.jobs.decisions import Decisions
from trainer.jobs.desk import Desk
from trainer.jobs.policy import Policy
from trainer.jobs.queue import JobQueue
from trainer.jobs.records import Jobs
from trainer.jobs.run import Base, TuningJobs
from trainer.jobs.states import Job
from trainer.jobs.worker import Worker


class Place:
    """A data folder with a worker that loads its base once."""

    def __init__(self, data_dir: Path, vlsm: FrozenVLSM, queue: JobQueue):
        self.data_dir, self.store = data_dir, store_at(data_dir)
        self.jobs, self.registry = Jobs(self.store.database), Registry(data_dir / "registry")
        self.decisions = Decisions(self.store, self.registry)
        self.loaded = 0

        def load() -> Base:
            self.loaded += 1
            return Base(vlsm, torch.device("cpu"))

        self.run: Callable[[Job, Desk], None] = TuningJobs(self.store, data_dir, load_base=load)
        self.worker = Worker(
            claims=Claims(self.store.database),
            queue=queue,
            triggers=None,
            run=self.run,
            beat_seconds=0.5,
            stale_seconds=300,
        )

    def done(self, **wishes: Any) -> Job:
        """Ask for a job, let the worker do it, and read it."""
        job = self.jobs.request("toys", by="mk", request=wishes)[0].id
        assert self.worker.look(Event())
        return self.jobs.get(job)

    def policy(self, **values: Any) -> None:
        self.decisions.set_policy("toys", Policy.model_validate(QUICK | values), by="mk", reason="test")

    def logs(self, job: Job) -> list[str]:
        return [event.data["text"] for event in self.jobs.events(job.id) if event.kind == "log"]
