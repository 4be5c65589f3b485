"""A running application with a labelled dataset, seen from its API and from beside."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import httpx

from models_store.registry import Registry
from server.client import Client
from trainer.jobs.claims import Claims
from trainer.labels.store import LabelStore


@dataclass
class Api:
    """Where it is, clients of it, and its store and registry."""

    url: str
    client: Client
    http: httpx.Client
    registry: Registry
    data_dir: Path
    opened: LabelStore | None = None

    @property
    def store(self) -> LabelStore:
        """The labelled data, once there are some."""
        assert self.opened is not None
        return self.opened

    @property
    def claims(self) -> Claims:
        """What a worker would do."""
        return Claims(self.store.database)

    def close(self) -> None:
        """Let go of the database."""
        if self.opened is not None:
            self.opened.database.close()
