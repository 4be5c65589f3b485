"""The labelled-data store of a server, opened when first asked for: serving masks needs no database."""

from __future__ import annotations

from pathlib import Path
from threading import BoundedSemaphore, Lock

from trainer.labels.blobs import BlobStore
from trainer.labels.database import Database, is_made
from trainer.labels.errors import UnknownLabelsError
from trainer.labels.store import LabelStore

ARCHIVES_AT_ONCE = 2


class Labels:
    """Opens the store once.

    Args:
        url: Its database.
        blobs_root: Folder of its files.

    Attributes:
        taking: Held while an archive is unpacked and looked at, which needs disk and processor.
    """

    def __init__(self, url: str, blobs_root: Path):
        self._url, self._blobs_root = url, blobs_root
        self.taking = BoundedSemaphore(ARCHIVES_AT_ONCE)
        self._lock = Lock()
        self._store: LabelStore | None = None

    @property
    def store(self) -> LabelStore:
        """The store.

        Raises:
            StoreBusyError: The database cannot be reached now.
        """
        with self._lock:
            if self._store is None:
                self._store = LabelStore(Database(self._url), BlobStore(self._blobs_root))
            return self._store

    @property
    def present(self) -> LabelStore | None:
        """The store if there is one: asking what it holds makes no database.

        Raises:
            StoreBusyError: The database cannot be reached now.
        """
        return self.store if is_made(self._url) else None

    @property
    def existing(self) -> LabelStore:
        """The store, if there is one.

        Raises:
            UnknownLabelsError: There is none yet.
            StoreBusyError: The database cannot be reached now.
        """
        store = self.present
        if store is None:
            raise UnknownLabelsError("there are no labelled datasets yet")
        return store

    def close(self) -> None:
        """Let go of its connections, if there are any."""
        with self._lock:
            if self._store is not None:
                self._store.database.close()
                self._store = None
