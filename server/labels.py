"""The labelled-data store of a server, opened when first asked for: serving masks needs no database."""

from __future__ import annotations

from pathlib import Path
from threading import Lock

from trainer.labels.blobs import BlobStore
from trainer.labels.database import Database
from trainer.labels.store import LabelStore


class Labels:
    """Opens the store once.

    Args:
        url: Its database.
        blobs_root: Folder of its files.
    """

    def __init__(self, url: str, blobs_root: Path):
        self._url, self._blobs_root = url, blobs_root
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

    def close(self) -> None:
        """Let go of its connections, if there are any."""
        with self._lock:
            if self._store is not None:
                self._store.database.close()
                self._store = None
