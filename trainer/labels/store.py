"""Adding to the store, and what it holds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models_store.errors import BadInputError
from models_store.registry import check_dataset_name
from trainer.data.groups import check_group
from trainer.labels.blobs import BlobStore
from trainer.labels.database import Database
from trainer.labels.errors import UnknownLabelsError
from trainer.labels.new import Added, NewAnnotation, NewImage, State, as_json
from trainer.labels.splits import Groups
from trainer.labels.tables import AnnotationRow, DatasetRow, GroupRow, ImageRow, ReviewRow

WHO = re.compile(r"[^\x00-\x1f\x7f]{1,200}")
SUFFIX = re.compile(r"\.[a-z0-9]{1,7}")
SHOWN = 20


@dataclass(frozen=True)
class LabelCounts:
    """What a dataset holds.

    Attributes:
        images: All images.
        unlabelled: Images without an annotation that is not rejected.
        annotations: By state of their last review.
        splits: Images by split.
    """

    images: int
    unlabelled: int
    annotations: dict[str, int]
    splits: dict[str, int]


class LabelStore:
    """The labelled datasets of one database and one folder of files.

    Args:
        database: Rows.
        blobs: Files.
    """

    def __init__(self, database: Database, blobs: BlobStore):
        self.database, self.blobs = database, blobs

    # Datasets

    def create(self, name: str, *, by: str, policy: dict[str, Any] | None = None) -> bool:
        """Make a dataset unless it is there; returns whether it is new.

        Raises:
            BadInputError: The name is not acceptable.
        """
        check_dataset_name(name)
        check_who(by)
        with self.database.writing() as session:
            return _create(session, name, by, policy or {})

    def names(self) -> list[str]:
        """Names of the datasets, sorted."""
        with self.database.reading() as session:
            return list(session.scalars(select(DatasetRow.name).order_by(DatasetRow.name)))

    def counts(self, dataset: str) -> LabelCounts:
        """What a dataset holds.

        Raises:
            UnknownLabelsError: There is no such dataset.
        """
        with self.database.reading() as session:
            row = dataset_row(session, dataset)
            of_dataset = ImageRow.dataset_id == row.id
            images = session.scalar(select(func.count()).select_from(ImageRow).where(of_dataset)) or 0
            splits = session.execute(
                select(GroupRow.split, func.count()).join(ImageRow).where(of_dataset).group_by(GroupRow.split)
            )
            states: dict[str, int] = dict.fromkeys(State, 0)
            labelled = set()
            for annotation, state in annotations_of(session, row):
                states[state] += 1
                if state != State.REJECTED:
                    labelled.add(annotation.image_id)
            return LabelCounts(
                images, images - len(labelled), states, {split: count for split, count in splits}
            )

    # Adding

    def add(self, dataset: str, images: Sequence[NewImage], *, by: str, create: bool = False) -> Added:
        """Add images and annotations, all or none; what is there already is left as it is.

        Args:
            dataset: The dataset.
            images: What to add; their files are kept already.
            by: Who adds them.
            create: Whether to make the dataset if it is not there.

        Raises:
            UnknownLabelsError: There is no such dataset, or a file is not kept.
            BadInputError: A phrase or a name is not acceptable.
            StoreBusyError: Another process writes.
        """
        check_who(by)
        for image in images:
            self._check(image)
        added = Added()
        with self.database.writing() as session:
            if create:
                check_dataset_name(dataset)
                _create(session, dataset, by, {})
            row = dataset_row(session, dataset, lock=True)
            groups = Groups(session, row)
            have = {
                found.pixels: found
                for found in session.scalars(select(ImageRow).where(ImageRow.dataset_id == row.id))
            }
            for image in images:
                found = have.get(image.pixels)
                if found is None:
                    found = have[image.pixels] = _new_image(session, row, groups, image, by, added)
                else:
                    added.known_images += 1
                added.image_ids.append(found.id)
                for annotation in image.annotations:
                    added.annotation_ids.append(_annotate(session, found, annotation, by, added))
        return added

    def annotate(self, image_id: int, annotation: NewAnnotation, *, by: str) -> Added:
        """Add an annotation to an image of the store.

        Raises:
            UnknownLabelsError: There is no such image, or the mask is not kept.
            BadInputError: The phrase is not acceptable.
        """
        check_who(by)
        self._check_annotation(annotation)
        added = Added()
        with self.database.writing() as session:
            image = session.get(ImageRow, image_id)
            if image is None:
                raise UnknownLabelsError(f"no image {image_id}")
            added.known_images, added.image_ids = 1, [image.id]
            added.annotation_ids.append(_annotate(session, image, annotation, by, added))
        return added

    def review(self, annotation_id: int, state: State, *, by: str, reason: str) -> None:
        """Accept or reject an annotation, or make it a draft again; earlier reviews stay.

        Raises:
            UnknownLabelsError: There is no such annotation.
        """
        check_who(by)
        with self.database.writing() as session:
            if session.get(AnnotationRow, annotation_id) is None:
                raise UnknownLabelsError(f"no annotation {annotation_id}")
            session.add(_review(annotation_id, state, by, reason))

    def _check(self, image: NewImage) -> None:
        if not WHO.fullmatch(image.name):
            raise BadInputError(
                f"image name {image.name[:80]!r} is empty, too long, or has control characters"
            )
        if not SUFFIX.fullmatch(image.suffix):
            raise BadInputError(f"suffix {image.suffix!r} is not one of an image file, such as .png")
        check_group(image.group)
        for digest in (image.picture, image.source):
            if digest is not None:
                self.blobs.path(digest)
        for annotation in image.annotations:
            self._check_annotation(annotation)

    def _check_annotation(self, annotation: NewAnnotation) -> None:
        check_who(annotation.annotator)
        self.blobs.path(annotation.mask)
        # A phrase that is not acceptable raises here, before anything is written.
        _ = annotation.phrase


def now() -> datetime:
    """The moment, in UTC."""
    return datetime.now(UTC)


def check_who(name: str) -> None:
    """Raise BadInputError unless a person's or program's name can be recorded."""
    if not WHO.fullmatch(name):
        raise BadInputError(f"name {name[:80]!r} must be of 1 to 200 characters without control characters")


def dataset_row(session: Session, name: str, *, lock: bool = False) -> DatasetRow:
    """A dataset's row; with ``lock`` no one else adds to it before the session ends.

    Raises:
        UnknownLabelsError: There is none of that name.
    """
    found = select(DatasetRow).where(DatasetRow.name == name)
    row = session.scalars(found.with_for_update() if lock else found).one_or_none()
    if row is None:
        have = list(session.scalars(select(DatasetRow.name).order_by(DatasetRow.name).limit(SHOWN + 1)))
        listed = ", ".join(have[:SHOWN]) + (" ..." if len(have) > SHOWN else "")
        raise UnknownLabelsError(f"no labelled dataset {name[:100]!r}; there are: {listed or 'none yet'}")
    return row


def annotations_of(session: Session, dataset: DatasetRow) -> Iterator[tuple[AnnotationRow, State]]:
    """Every annotation of a dataset with the state its last review gave it, oldest first."""
    last = (
        select(ReviewRow.annotation_id, func.max(ReviewRow.id).label("id"))
        .group_by(ReviewRow.annotation_id)
        .subquery()
    )
    rows = session.execute(
        select(AnnotationRow, ReviewRow.state)
        .join(ImageRow)
        .join(last, last.c.annotation_id == AnnotationRow.id)
        .join(ReviewRow, ReviewRow.id == last.c.id)
        .where(ImageRow.dataset_id == dataset.id)
        .order_by(AnnotationRow.id)
    )
    return ((annotation, State(state)) for annotation, state in rows)


def _create(session: Session, name: str, by: str, policy: dict[str, Any]) -> bool:
    """Make a dataset unless it is there; whether it is new."""
    if session.scalars(select(DatasetRow).where(DatasetRow.name == name)).one_or_none():
        return False
    session.add(DatasetRow(name=name, created_at=now(), created_by=by, policy=policy))
    session.flush()
    return True


def _new_image(
    session: Session, dataset: DatasetRow, groups: Groups, image: NewImage, by: str, added: Added
) -> ImageRow:
    group, remarks = groups.of(image)
    row = ImageRow(
        dataset_id=dataset.id,
        group_id=group.id,
        name=image.name,
        picture=image.picture,
        suffix=image.suffix,
        pixels=image.pixels,
        fingerprint=image.fingerprint,
        source=image.source,
        frame=image.frame,
        width=image.width,
        height=image.height,
        flags=list(image.flags),
        added_at=now(),
        added_by=by,
    )
    session.add(row)
    session.flush()
    added.images += 1
    added.splits[group.split] = added.splits.get(group.split, 0) + 1
    added.remarks += remarks
    return row


def _annotate(session: Session, image: ImageRow, new: NewAnnotation, by: str, added: Added) -> int:
    same = select(AnnotationRow.id).where(AnnotationRow.image_id == image.id, AnnotationRow.key == new.key)
    known = session.scalar(same)
    if known is not None:
        added.known_annotations += 1
        return known
    row = AnnotationRow(
        image_id=image.id,
        key=new.key,
        phrase=new.phrase,
        prompts=dict(as_json(new.prompts)),
        class_name=new.class_name,
        mask=new.mask,
        foreground=new.foreground,
        annotator=new.annotator,
        checkpoint=new.checkpoint,
        how=new.how,
        at=now(),
    )
    session.add(row)
    session.flush()
    session.add(_review(row.id, new.state, by, "as it came"))
    added.annotations += 1
    return row.id


def _review(annotation_id: int, state: State, by: str, reason: str) -> ReviewRow:
    return ReviewRow(annotation_id=annotation_id, state=state, reviewer=by, reason=reason, at=now())
