"""Splits that never move: decided once, for all images that belong together."""

from __future__ import annotations

import hashlib

from sqlalchemy import select
from sqlalchemy.orm import Session

from trainer.labels.likeness import nearest
from trainer.labels.new import NewImage, Split
from trainer.labels.tables import DatasetRow, GroupRow, ImageRow

# One group of each so many goes to ``val``.
BLOCK = 5
# What a group's key starts with: the name it was given, or the digest of the first of some like images.
NAMED, ALIKE = "key:", "image:"


def drawn_split(dataset: str, drawn: int) -> Split:
    """The split of the next group, given how many were drawn before it.

    Of every five consecutive groups one goes to ``val``, which one by the dataset's name: the share
    holds from the first labels on, and later ones change no earlier draw.
    """
    block, place = divmod(drawn, BLOCK)
    chosen = int.from_bytes(hashlib.sha256(f"{dataset}/{block}".encode()).digest()[:8], "big") % BLOCK
    return Split.VAL if place == chosen else Split.TRAIN


class Groups:
    """The groups of one dataset, while images are being added under its lock.

    Args:
        session: A writing session that holds the dataset's lock.
        dataset: The dataset.
    """

    def __init__(self, session: Session, dataset: DatasetRow):
        self._session, self._dataset = session, dataset
        of_dataset = select(ImageRow.fingerprint, ImageRow.group_id).where(ImageRow.dataset_id == dataset.id)
        rows = session.execute(of_dataset.order_by(ImageRow.id)).all()
        self._prints = [row.fingerprint for row in rows]
        self._group_of = [row.group_id for row in rows]

    def of(self, image: NewImage) -> tuple[GroupRow, list[str]]:
        """The group of a new image, and remarks where its split is not what one would expect.

        A named group decides. An image of no group that is so like another that it may be a copy of
        it, or a neighbouring slice, joins that one's group; a new group follows its split.
        """
        alike = self._alike(image)
        remarks = []
        if image.group is None:
            group = alike or self._new(f"{ALIKE}{image.pixels}", image.split)
        else:
            split = image.split if alike is None else Split(alike.split)
            group = self._named(image.group) or self._new(f"{NAMED}{image.group}", split)
            if alike is not None and alike.split != group.split:
                remarks.append(f"{image.name} is in {group.split}, but much like an image in {alike.split}")
        self._prints.append(image.fingerprint)
        self._group_of.append(group.id)
        if image.split is not None and group.split != image.split:
            why = f"what it belongs with is in {group.split}"
            remarks.append(f"{image.name} did not go into {image.split}: {why}")
        return group, remarks

    def _named(self, key: str) -> GroupRow | None:
        found = select(GroupRow).where(
            GroupRow.dataset_id == self._dataset.id, GroupRow.key == f"{NAMED}{key}"
        )
        return self._session.scalars(found).one_or_none()

    def _alike(self, image: NewImage) -> GroupRow | None:
        at = nearest(image.fingerprint, self._prints)
        return None if at is None else self._session.get_one(GroupRow, self._group_of[at])

    def _new(self, key: str, split: Split | None) -> GroupRow:
        decided_by = "given" if split is not None else "drawn"
        if split is None:
            split = drawn_split(self._dataset.name, self._dataset.splits_drawn)
            self._dataset.splits_drawn += 1
        group = GroupRow(dataset_id=self._dataset.id, key=key, split=split, decided_by=decided_by)
        self._session.add(group)
        self._session.flush()
        return group
