"""Removing what nothing refers to and what can be made anew."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from trainer.labels.store import LabelStore
from trainer.labels.tables import AnnotationRow, DatasetRow, DecisionRow, ImageRow, JobRow, RevisionRow
from trainer.tuning.state import LOCK

# An upload keeps its files before its rows; none takes longer than this.
GRACE = timedelta(days=1)
UNENDED = ("queued", "running")


@dataclass
class Collected:
    """What was removed.

    Attributes:
        files: Files that nothing referred to.
        folders: Laid-out revisions and leftovers of runs.
        freed: Bytes of the files.
    """

    files: int = 0
    folders: int = 0
    freed: int = 0


def referred_to(session: Session) -> set[str]:
    """Digests of every file that a row refers to."""
    columns = (
        ImageRow.picture,
        ImageRow.source,
        AnnotationRow.mask,
        RevisionRow.manifest,
        DecisionRow.report,
    )
    return {digest for column in columns for digest in session.scalars(select(column).distinct()) if digest}


def pinned_versions(store: LabelStore) -> dict[str, list[str]]:
    """The version each dataset is pinned to, of those that are."""
    with store.database.reading() as session:
        rows = session.execute(select(DatasetRow.name, DatasetRow.pinned))
        return {name: [version] for name, version in rows if version is not None}


def collect_files(store: LabelStore, *, grace: timedelta = GRACE, now: float | None = None) -> Collected:
    """Remove kept files that no row refers to and that were not put for a while.

    Nothing that an upload under way has put is touched, as long as it takes less than the grace.

    Args:
        store: The store.
        grace: How long a file stays that nothing refers to.
        now: Seconds since 1970, for tests.
    """
    unused_since = (time.time() if now is None else now) - grace.total_seconds()
    collected = Collected()
    # Listed before the rows are read: what is put later is not in the list, whatever refers to it.
    kept = list(store.blobs)
    with store.database.reading() as session:
        needed = referred_to(session)
    for digest in kept:
        if digest not in needed:
            freed = store.blobs.discard(digest, unused_since=unused_since)
            collected.files += freed > 0
            collected.freed += freed
    collected.freed += store.blobs.discard_asides(unused_since=unused_since)
    return collected


def collect_folders(
    store: LabelStore, folders: Iterable[Path], *, grace: timedelta = GRACE, now: float | None = None
) -> int:
    """Remove folders that can be made anew, such as laid-out revisions and unfinished runs, where unused.

    Args:
        store: The store, whose jobs are asked.
        folders: The parents of such folders.
        grace: How long one stays that was not changed.
        now: Seconds since 1970, for tests.

    Returns:
        How many were removed.
    """
    unused_since = (time.time() if now is None else now) - grace.total_seconds()
    with store.database.reading() as session:
        manifests = select(RevisionRow.manifest).join(JobRow, JobRow.revision_id == RevisionRow.id)
        in_use = set(session.scalars(manifests.where(JobRow.state.in_(UNENDED))))
    removed = 0
    for parent in folders:
        for folder in parent.iterdir() if parent.is_dir() else ():
            if (
                folder.is_dir()
                and folder.name not in in_use
                and folder.stat().st_mtime < unused_since
                and not _held(folder)
            ):
                shutil.rmtree(folder)
                removed += 1
    return removed


def _held(folder: Path) -> bool:
    """Whether a tuning run is at work in a folder."""
    try:
        with (folder / LOCK).open("rb") as handle:
            flock(handle, LOCK_EX | LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
