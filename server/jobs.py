"""Background jobs as the server sees them: it asks for them, and a worker does them."""

from __future__ import annotations

from models_store.registry import Registry
from server.labels import Labels
from trainer.jobs.decisions import Decisions
from trainer.jobs.queue import JobQueue
from trainer.jobs.records import Jobs


class BackgroundJobs:
    """Jobs, decisions and the queue; the database is opened on first use.

    Args:
        labels: Whose database holds them.
        queue: Wakes workers.
        registry: Whose champions are decided on.
    """

    def __init__(self, labels: Labels, queue: JobQueue, registry: Registry):
        self._labels, self.queue, self._registry = labels, queue, registry

    @property
    def present(self) -> Jobs | None:
        """Jobs, if there is a database.

        Raises:
            StoreBusyError: It cannot be reached now.
        """
        store = self._labels.present
        return None if store is None else Jobs(store.database)

    @property
    def existing(self) -> Jobs:
        """Jobs.

        Raises:
            UnknownLabelsError: There is no database yet, and so no job.
            StoreBusyError: It cannot be reached now.
        """
        return Jobs(self._labels.existing.database)

    @property
    def known_decisions(self) -> Decisions:
        """Decisions, where there is a database.

        Raises:
            UnknownLabelsError: There is no database yet.
            StoreBusyError: It cannot be reached now.
        """
        return Decisions(self._labels.existing, self._registry)

    @property
    def decisions(self) -> Decisions:
        """Decisions; makes the database if need be, since a version from a folder may be decided on, too.

        Raises:
            StoreBusyError: It cannot be reached now.
        """
        return Decisions(self._labels.store, self._registry)

    def close(self) -> None:
        """Let go of the queue."""
        self.queue.close()
