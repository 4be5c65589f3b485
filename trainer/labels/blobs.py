"""Files by the SHA-256 of their content, written once and never changed."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, LOCK_SH, flock
from pathlib import Path
from uuid import uuid4

from models_store.errors import DamagedError
from models_store.files import ASIDE_PREFIX, sync_folder, write_file
from trainer.labels.database import translated
from trainer.labels.errors import UnknownLabelsError

_DIGEST = re.compile(r"[0-9a-f]{64}")


class BlobStore:
    """A folder of files; any number of processes may add to it at once.

    Args:
        root: The folder; made when the first file is put.
    """

    def __init__(self, root: Path):
        self.root = root

    def put(self, content: bytes) -> str:
        """Keep bytes, durably, and return their digest; what is there already is not written again.

        Raises:
            StoreFullError: The disk is full; nothing was kept.
        """
        digest = hashlib.sha256(content).hexdigest()
        path = self._path(digest)
        with translated():
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._held(LOCK_SH):
                if path.is_file():
                    # About to be referred to: discarding goes by age and must not take it for a leftover.
                    os.utime(path)
                    return digest
            aside = path.parent / f"{ASIDE_PREFIX}{uuid4().hex}"
            try:
                write_file(aside, content)
                os.replace(aside, path)
            except BaseException:
                aside.unlink(missing_ok=True)
                raise
            sync_folder(path.parent)
        return digest

    def path(self, digest: str) -> Path:
        """The file of a digest.

        Raises:
            UnknownLabelsError: There is none.
        """
        path = self._path(digest)
        if not path.is_file():
            raise UnknownLabelsError(f"no file with digest {digest[:64]!r} is kept")
        return path

    def read(self, digest: str) -> bytes:
        """The bytes of a digest, checked.

        Raises:
            UnknownLabelsError: There are none.
            DamagedError: They are not what was put.
        """
        content = self.path(digest).read_bytes()
        if hashlib.sha256(content).hexdigest() != digest:
            raise DamagedError(f"the kept file {digest} was changed or damaged")
        return content

    def discard(self, digest: str, *, unused_since: float) -> int:
        """Remove a file that nobody refers to, unless it was put again since; returns the bytes freed.

        Args:
            digest: Whose file.
            unused_since: Seconds since 1970; what was put after that moment stays.
        """
        path = self._path(digest)
        with self._held(LOCK_EX):
            try:
                found = path.stat()
            except FileNotFoundError:
                return 0
            if found.st_mtime >= unused_since:
                return 0
            path.unlink()
            return found.st_size

    def discard_asides(self, *, unused_since: float) -> int:
        """Remove what writers that were killed left; returns the bytes freed."""
        freed = 0
        for path in self.root.glob(f"*/{ASIDE_PREFIX}*"):
            with suppress(FileNotFoundError):
                found = path.stat()
                if found.st_mtime < unused_since:
                    path.unlink()
                    freed += found.st_size
        return freed

    @contextmanager
    def _held(self, how: int) -> Iterator[None]:
        """Hold the folder's lock, shared with others that put or alone; a killed holder lets go."""
        with (self.root / ".lock").open("a") as handle:
            flock(handle, how)
            yield

    def __contains__(self, digest: str) -> bool:
        return bool(_DIGEST.fullmatch(digest)) and self._path(digest).is_file()

    def __iter__(self) -> Iterator[str]:
        """Digests of all files."""
        if not self.root.is_dir():
            return
        for folder in sorted(path for path in self.root.iterdir() if path.is_dir()):
            yield from sorted(p.name for p in folder.iterdir() if _DIGEST.fullmatch(p.name))

    def _path(self, digest: str) -> Path:
        if not _DIGEST.fullmatch(digest):
            raise UnknownLabelsError(f"{digest[:80]!r} is not a digest: 64 of 0-9 and a-f")
        return self.root / digest[:2] / digest
