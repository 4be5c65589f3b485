"""What the store holds, image by image and annotation by annotation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Select, exists, func, select
from sqlalchemy.orm import Session, aliased

from trainer.labels.errors import UnknownLabelsError
from trainer.labels.new import How, Split, State
from trainer.labels.revisions import named_group
from trainer.labels.store import LabelStore, dataset_row
from trainer.labels.tables import AnnotationRow, DatasetRow, GroupRow, ImageRow, ReviewRow

MOST_AT_ONCE = 500


@dataclass(frozen=True)
class Review:
    """A decision on an annotation."""

    state: State
    reviewer: str
    reason: str
    at: datetime


@dataclass(frozen=True)
class Annotation:
    """An annotation with its reviews, oldest first; the last one counts."""

    id: int
    image_id: int
    phrase: str
    prompts: dict[str, Any]
    class_name: str | None
    mask: str
    foreground: int
    annotator: str
    checkpoint: str | None
    how: How
    at: datetime
    reviews: tuple[Review, ...]

    @property
    def state(self) -> State:
        """What its last review says."""
        return self.reviews[-1].state


@dataclass(frozen=True)
class ListedImage:
    """An image with its annotations, oldest first."""

    id: int
    name: str
    picture: str
    suffix: str
    source: str | None
    frame: int | None
    width: int
    height: int
    split: Split
    group: str | None
    flags: tuple[str, ...]
    added_at: datetime
    added_by: str
    annotations: tuple[Annotation, ...] = field(default=())


def list_images(
    store: LabelStore,
    dataset: str,
    *,
    labelled: bool | None = None,
    split: Split | None = None,
    after: int = 0,
    limit: int = MOST_AT_ONCE,
) -> list[ListedImage]:
    """A page of a dataset's images by id, with their annotations.

    Args:
        store: The store.
        dataset: Its name.
        labelled: Only those that have, or have not, an annotation that is not rejected.
        split: Only those of one split.
        after: Only those of larger ids.
        limit: At most so many.

    Raises:
        UnknownLabelsError: There is no such dataset.
    """
    with store.database.reading() as session:
        row = dataset_row(session, dataset)
        chosen = _images(row).where(ImageRow.id > after).order_by(ImageRow.id).limit(limit)
        if split is not None:
            chosen = chosen.where(GroupRow.split == split)
        if labelled is not None:
            some = exists(_unrejected().where(AnnotationRow.image_id == ImageRow.id).correlate(ImageRow))
            chosen = chosen.where(some if labelled else ~some)
        return _listed(session, chosen)


def show_image(store: LabelStore, dataset: str, image_id: int) -> ListedImage:
    """One image of a dataset.

    Raises:
        UnknownLabelsError: There is no such dataset or image.
    """
    with store.database.reading() as session:
        row = dataset_row(session, dataset)
        found = _listed(session, _images(row).where(ImageRow.id == image_id))
    if not found:
        raise UnknownLabelsError(f"dataset {dataset} has no image {image_id}")
    return found[0]


def list_annotations(
    store: LabelStore,
    dataset: str,
    *,
    state: State | None = None,
    after: int = 0,
    limit: int = MOST_AT_ONCE,
) -> list[Annotation]:
    """A page of a dataset's annotations by id.

    Args:
        store: The store.
        dataset: Its name.
        state: Only those whose last review says so.
        after: Only those of larger ids.
        limit: At most so many.

    Raises:
        UnknownLabelsError: There is no such dataset.
    """
    with store.database.reading() as session:
        row = dataset_row(session, dataset)
        chosen = _annotations(row).where(AnnotationRow.id > after).limit(limit)
        if state is not None:
            last = aliased(ReviewRow)
            newest = select(func.max(last.id)).where(last.annotation_id == AnnotationRow.id)
            chosen = chosen.join(ReviewRow, ReviewRow.id == newest.scalar_subquery())
            chosen = chosen.where(ReviewRow.state == state)
        return _with_reviews(session, session.scalars(chosen).all())


def show_annotation(store: LabelStore, dataset: str, annotation_id: int) -> Annotation:
    """One annotation of a dataset.

    Raises:
        UnknownLabelsError: There is no such dataset or annotation.
    """
    with store.database.reading() as session:
        row = dataset_row(session, dataset)
        chosen = _annotations(row).where(AnnotationRow.id == annotation_id)
        found = _with_reviews(session, session.scalars(chosen).all())
    if not found:
        raise UnknownLabelsError(f"dataset {dataset} has no annotation {annotation_id}")
    return found[0]


def images_of_files(store: LabelStore, dataset: str, digests: Collection[str]) -> dict[str, ListedImage]:
    """The images of a dataset whose kept file, or DICOM source, has one of some digests.

    Raises:
        UnknownLabelsError: There is no such dataset.
    """
    found: dict[str, ListedImage] = {}
    with store.database.reading() as session:
        row = dataset_row(session, dataset)
        asked = sorted(set(digests))
        for start in range(0, len(asked), MOST_AT_ONCE):
            part = asked[start : start + MOST_AT_ONCE]
            for column in (ImageRow.picture, ImageRow.source):
                for image in _listed(session, _images(row).where(column.in_(part))):
                    for digest in {image.picture, image.source} & set(part):
                        if digest is not None:
                            found[digest] = image
    return found


def _images(dataset: DatasetRow) -> Select[ImageRow, GroupRow]:
    return select(ImageRow, GroupRow).join(GroupRow).where(ImageRow.dataset_id == dataset.id)


def _annotations(dataset: DatasetRow) -> Select[AnnotationRow]:
    of_dataset = select(AnnotationRow).join(ImageRow).where(ImageRow.dataset_id == dataset.id)
    return of_dataset.order_by(AnnotationRow.id)


def _unrejected() -> Select[int]:
    last = aliased(ReviewRow)
    newest = select(func.max(last.id)).where(last.annotation_id == AnnotationRow.id).scalar_subquery()
    return (
        select(AnnotationRow.id)
        .join(ReviewRow, ReviewRow.id == newest)
        .where(ReviewRow.state != State.REJECTED)
    )


def _listed(session: Session, chosen: Select[ImageRow, GroupRow]) -> list[ListedImage]:
    rows = session.execute(chosen).all()
    of_images: dict[int, list[Annotation]] = defaultdict(list)
    ids = [image.id for image, _ in rows]
    some = select(AnnotationRow).where(AnnotationRow.image_id.in_(ids)).order_by(AnnotationRow.id)
    for each in _with_reviews(session, session.scalars(some).all()):
        of_images[each.image_id].append(each)
    return [
        ListedImage(
            image.id,
            image.name,
            image.picture,
            image.suffix,
            image.source,
            image.frame,
            image.width,
            image.height,
            Split(group.split),
            named_group(group.key),
            tuple(image.flags),
            image.added_at,
            image.added_by,
            tuple(of_images[image.id]),
        )
        for image, group in rows
    ]


def _with_reviews(session: Session, rows: Sequence[AnnotationRow]) -> list[Annotation]:
    reviews: dict[int, list[Review]] = defaultdict(list)
    ids = [row.id for row in rows]
    some = select(ReviewRow).where(ReviewRow.annotation_id.in_(ids)).order_by(ReviewRow.id)
    for each in session.scalars(some):
        reviews[each.annotation_id].append(Review(State(each.state), each.reviewer, each.reason, each.at))
    return [
        Annotation(
            row.id,
            row.image_id,
            row.phrase,
            row.prompts,
            row.class_name,
            row.mask,
            row.foreground,
            row.annotator,
            row.checkpoint,
            How(row.how),
            row.at,
            tuple(reviews[row.id]),
        )
        for row in rows
    ]
