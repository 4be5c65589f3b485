"""Everything in one file: rows, kept files, checkpoints and their aliases.

backup.json              format, moment, migration of the database
tables/<name>.jsonl      rows
blobs/<digest>           files that rows refer to
registry/<dataset>/...   as in the data folder
keys/<name>              secrets of the data folder, such as that of pseudonyms
sums.json                SHA-256 of every file before it
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from sqlalchemy import text

from models_store.errors import BadInputError, DamagedError
from models_store.files import ASIDE_PREFIX, locked, sync_folder
from models_store.registry import Registry
from trainer.housekeeping.garbage import referred_to
from trainer.housekeeping.rows import TABLES, table_lines
from trainer.labels.database import translated
from trainer.labels.store import LabelStore

FORMAT = 1
HEADER, SUMS = "backup.json", "sums.json"
MIGRATION = text("SELECT version_num FROM alembic_version")
LEFT_OUT = (".lock", ASIDE_PREFIX)
# Labelled images are patients', and keys are secrets.
OWNER_ONLY = 0o600


@dataclass(frozen=True)
class BackedUp:
    """What a backup holds."""

    files: int
    rows: int
    checkpoints: int
    bytes: int


class _Archive:
    """A tar file being written, with the sums of its files."""

    def __init__(self, tar: tarfile.TarFile):
        self._tar = tar
        self.sums: dict[str, str] = {}

    def add(self, name: str, content: bytes, mode: int = 0o644) -> None:
        self.sums[name] = hashlib.sha256(content).hexdigest()
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(content), mode
        self._tar.addfile(entry, io.BytesIO(content))


def back_up(store: LabelStore, registry: Registry, target: Path, *, keys: Iterable[Path] = ()) -> BackedUp:
    """Write a backup, whole or not at all, while the service goes on.

    Args:
        store: Labelled data and jobs.
        registry: Checkpoints.
        target: The file, which must not be there.
        keys: Files of secrets to take along; the backup can be read by its owner alone.

    Raises:
        BadInputError: The target is there.
        DamagedError: A kept file or a checkpoint is damaged.
        StoreFullError: The disk is full; nothing is left.
    """
    if target.exists():
        raise BadInputError(f"{target} is there already; name a file that is not")
    with translated():
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.parent / f"{ASIDE_PREFIX}{uuid4().hex}"
        try:
            with open(os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, OWNER_ONLY), "wb") as out:
                with tarfile.open(fileobj=out, mode="w") as tar:
                    done = _fill(_Archive(tar), store, registry, keys)
                out.flush()
                os.fsync(out.fileno())
            size = aside.stat().st_size
            os.rename(aside, target)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        sync_folder(target.parent)
    return BackedUp(*done, size)


def _fill(
    archive: _Archive, store: LabelStore, registry: Registry, keys: Iterable[Path]
) -> tuple[int, int, int]:
    rows = 0
    with store.database.reading(frozen=True) as session:
        migration = session.scalar(MIGRATION)
        header = {"format": FORMAT, "at": datetime.now(UTC).isoformat(), "migration": migration}
        archive.add(HEADER, json.dumps(header).encode())
        for name in TABLES:
            lines = list(table_lines(session, name))
            rows += len(lines)
            archive.add(f"tables/{name}.jsonl", b"".join(lines))
        # Rows never go, so what this state refers to stays while it is being copied.
        digests = sorted(referred_to(session))
    for digest in digests:
        archive.add(f"blobs/{digest}", store.blobs.read(digest))
    checkpoints = sum(_add_dataset(archive, registry, dataset) for dataset in registry.datasets())
    for key in keys:
        if key.is_file():
            archive.add(f"keys/{key.name}", key.read_bytes(), OWNER_ONLY)
    archive.add(SUMS, json.dumps(archive.sums, indent=1).encode())
    return len(digests), rows, checkpoints


def _add_dataset(archive: _Archive, registry: Registry, dataset: str) -> int:
    folder = registry.root / dataset
    # Aliases and their history belong together, and no version goes meanwhile.
    with locked(folder):
        versions = registry.versions(dataset)
        for path in sorted(folder.rglob("*")):
            parts = path.relative_to(registry.root).parts
            if path.is_file() and not any(part.startswith(LEFT_OUT) for part in parts):
                archive.add(f"registry/{'/'.join(parts)}", path.read_bytes())
    return len(versions)


def read_sums(tar: tarfile.TarFile, path: Path) -> dict[str, str]:
    """Digests of a backup's files.

    Raises:
        DamagedError: It is not a backup, or was cut short.
    """
    try:
        member = tar.extractfile(SUMS)
        sums = json.loads(member.read()) if member is not None else None
    except (KeyError, ValueError, tarfile.TarError, OSError) as error:
        raise DamagedError(f"{path} is not a whole backup: {error}") from error
    if not isinstance(sums, dict) or HEADER not in sums:
        raise DamagedError(f"{path} is not a whole backup: {SUMS} lists no {HEADER}")
    return sums
