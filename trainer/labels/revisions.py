"""Immutable states of a dataset, each a manifest by digest, laid out as a folder to tune on."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models_store.errors import BadInputError
from models_store.files import folder_aside, locked, sync_folder, write_file
from trainer.labels.database import translated
from trainer.labels.errors import UnknownLabelsError
from trainer.labels.export import tasks
from trainer.labels.new import State
from trainer.labels.rows import Row
from trainer.labels.splits import NAMED
from trainer.labels.store import LabelStore, annotations_of, check_who, dataset_row, now
from trainer.labels.tables import AnnotationRow, DatasetRow, GroupRow, ImageRow, RevisionRow

FORMAT = 1
COMPLETE = "revision.json"


@dataclass(frozen=True)
class Revision:
    """An immutable state of a dataset.

    Attributes:
        dataset: Its name.
        number: Counted from 1.
        digest: SHA-256 of its manifest: equal digests mean equal data.
        splits: SHA-256 of which image is in which split.
        counts: Images and annotations by split.
        created_at, created_by: When and by whom it was made.
    """

    dataset: str
    number: int
    digest: str
    splits: str
    counts: dict[str, Any]
    created_at: datetime
    created_by: str


def freeze(store: LabelStore, dataset: str, *, by: str) -> Revision:
    """The revision of what is accepted now; a new one only where something changed.

    Of several accepted annotations of one thing in one image the newest counts; the others stay.

    Raises:
        UnknownLabelsError: There is no such dataset.
        BadInputError: Nothing is accepted.
    """
    check_who(by)
    with store.database.writing() as session:
        row = dataset_row(session, dataset, lock=True)
        rows = _accepted(session, row)
        if not rows:
            raise BadInputError(f"{dataset} has no accepted annotations; upload some, or accept drafts")
        entries = [_entry(*each) for each in rows]
        manifest = json.dumps(
            {"format": FORMAT, "dataset": dataset, "rows": entries}, indent=1, sort_keys=True
        )
        # Kept before it is referred to; without the row it is a file like any other nobody refers to.
        digest = store.blobs.put(manifest.encode())
        same = select(RevisionRow).where(RevisionRow.dataset_id == row.id, RevisionRow.manifest == digest)
        found = session.scalars(same).one_or_none()
        if found is None:
            last = select(func.max(RevisionRow.number)).where(RevisionRow.dataset_id == row.id)
            found = RevisionRow(
                dataset_id=row.id,
                number=(session.scalar(last) or 0) + 1,
                manifest=digest,
                splits=_splits_digest(entries),
                counts=_counts(entries),
                created_at=now(),
                created_by=by,
            )
            session.add(found)
            session.flush()
        return _revision(dataset, found)


def revisions(store: LabelStore, dataset: str) -> list[Revision]:
    """All revisions of a dataset, oldest first."""
    with store.database.reading() as session:
        row = dataset_row(session, dataset)
        of_dataset = select(RevisionRow).where(RevisionRow.dataset_id == row.id).order_by(RevisionRow.number)
        return [_revision(dataset, found) for found in session.scalars(of_dataset)]


def manifest(store: LabelStore, digest: str) -> list[Row]:
    """The rows of a revision, checked against its digest.

    Raises:
        UnknownLabelsError: There is none of that digest.
        DamagedError: The file was changed.
    """
    content = json.loads(store.blobs.read(digest))
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UnknownLabelsError(f"{digest} is not a revision's manifest")
    rows: list[Row] = content["rows"]
    return rows


def lay_out(store: LabelStore, digest: str, parent: Path) -> Path:
    """The folder of a revision in the benchmark's layout, made if it is not there, whole or not at all.

    Files are linked where the disk allows it and copied elsewhere.

    Args:
        store: The store.
        digest: The revision's.
        parent: Folder of such folders.

    Raises:
        UnknownLabelsError, DamagedError: The revision, or a file of it, is not there or damaged.
        StoreFullError: The disk is full; nothing is left.
    """
    folder = parent / digest
    if (folder / COMPLETE).is_file():
        # Housekeeping goes by age.
        os.utime(folder)
        return folder
    rows = manifest(store, digest)
    with translated():
        parent.mkdir(parents=True, exist_ok=True)
        with locked(parent), folder_aside(parent) as aside:
            if not (folder / COMPLETE).is_file():
                tasks.write(store.blobs, rows, aside)
                write_file(aside / COMPLETE, json.dumps({"revision": digest}).encode())
                if folder.exists():
                    shutil.rmtree(folder)
                os.rename(aside, folder)
                sync_folder(parent)
    return folder


def named_group(key: str) -> str | None:
    """The group as it was named, or None of one that came of likeness alone."""
    return key.removeprefix(NAMED) if key.startswith(NAMED) else None


def _accepted(session: Session, dataset: DatasetRow) -> list[tuple[AnnotationRow, ImageRow, GroupRow]]:
    newest: dict[tuple[int, str], AnnotationRow] = {}
    for annotation, state in annotations_of(session, dataset):
        if state == State.ACCEPTED:
            newest[annotation.image_id, annotation.class_name or annotation.phrase] = annotation
    images = {
        image.id: (image, group)
        for image, group in session.execute(
            select(ImageRow, GroupRow).join(GroupRow).where(ImageRow.dataset_id == dataset.id)
        )
    }
    chosen = sorted(newest.values(), key=lambda annotation: (annotation.image_id, annotation.id))
    return [(annotation, *images[annotation.image_id]) for annotation in chosen]


def _entry(annotation: AnnotationRow, image: ImageRow, group: GroupRow) -> dict[str, Any]:
    # Only of DICOM: manifests of other data stay what they were.
    origin = {"source": image.source, "frame": image.frame}
    return {
        **({} if image.source is None else origin),
        "image": image.name,
        "pixels": image.pixels,
        "picture": image.picture,
        "suffix": image.suffix,
        "group": named_group(group.key),
        "split": group.split,
        "mask": annotation.mask,
        "prompts": annotation.prompts,
        "class": annotation.class_name,
        "annotation": annotation.id,
        "annotator": annotation.annotator,
        "empty": annotation.foreground == 0,
    }


def _splits_digest(entries: Sequence[dict[str, Any]]) -> str:
    placed = sorted({(entry["pixels"], entry["split"]) for entry in entries})
    return sha256(json.dumps(placed).encode()).hexdigest()


def _counts(entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    images = Counter(split for _, split in {(entry["pixels"], entry["split"]) for entry in entries})
    rows = Counter(entry["split"] for entry in entries)
    return {"images": dict(sorted(images.items())), "rows": dict(sorted(rows.items()))}


def _revision(dataset: str, row: RevisionRow) -> Revision:
    return Revision(dataset, row.number, row.manifest, row.splits, row.counts, row.created_at, row.created_by)
