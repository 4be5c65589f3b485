"""What the store holds, image by image and annotation by annotation."""

from __future__ import annotations

import numpy as np
import pytest
from stored_labels import annotation, new_image, noise

from trainer.labels.errors import UnknownLabelsError
from trainer.labels.listing import (
    images_of_files,
    list_annotations,
    list_images,
    show_annotation,
    show_image,
)
from trainer.labels.new import Split, State
from trainer.labels.store import LabelStore

MASK = np.ones((32, 32), bool)


@pytest.fixture
def ids(store: LabelStore) -> list[int]:
    """Images: one of two annotations, one rejected, one that is to be labelled."""
    marks = [annotation(store, MASK), annotation(store, ~MASK, class_name="other", state=State.DRAFT)]
    images = [
        new_image(store, noise(1), name="two", marks=marks, split=Split.TRAIN, group="p"),
        new_image(store, noise(2), name="rejected", split=Split.VAL),
        new_image(store, noise(3), name="none", marks=[], split=Split.VAL),
    ]
    added = store.add("toys", images, by="ann")
    store.review(added.annotation_ids[2], State.REJECTED, by="bo", reason="of another image")
    return added.image_ids


def names(store: LabelStore, **options) -> list[str]:
    return [image.name for image in list_images(store, "toys", **options)]


def test_images_by_what_is_marked_in_them(store: LabelStore, ids: list[int]) -> None:
    assert names(store) == ["two", "rejected", "none"]
    assert names(store, labelled=True) == ["two"]
    assert names(store, labelled=False) == ["rejected", "none"]
    assert names(store, split=Split.VAL) == ["rejected", "none"]
    assert names(store, labelled=False, split=Split.TRAIN) == []
    assert names(store, after=ids[0], limit=1) == ["rejected"]


def test_an_image_has_its_annotations_and_these_their_reviews(store: LabelStore, ids: list[int]) -> None:
    image = show_image(store, "toys", ids[0])
    assert (image.group, image.split, len(image.annotations)) == ("p", "train", 2)
    assert [(each.class_name, each.state) for each in image.annotations] == [
        (None, "accepted"),
        ("other", "draft"),
    ]
    (rejected,) = show_image(store, "toys", ids[1]).annotations
    assert [(each.state, each.reviewer) for each in rejected.reviews] == [
        ("accepted", "ann"),
        ("rejected", "bo"),
    ]
    assert show_annotation(store, "toys", rejected.id) == rejected


def test_annotations_by_the_state_their_last_review_gave(store: LabelStore, ids: list[int]) -> None:
    everything = list_annotations(store, "toys")
    by_state = {state: list_annotations(store, "toys", state=state) for state in State}
    assert {state: len(found) for state, found in by_state.items()} == dict.fromkeys(State, 1)
    assert by_state[State.REJECTED][0].image_id == ids[1]
    assert list_annotations(store, "toys", after=everything[0].id, limit=1) == [everything[1]]


def test_images_by_their_files(store: LabelStore, ids: list[int]) -> None:
    digest = show_image(store, "toys", ids[2]).picture
    found = images_of_files(store, "toys", [digest, "0" * 64])
    assert {key: image.id for key, image in found.items()} == {digest: ids[2]}
    assert images_of_files(store, "toys", []) == {}


def test_what_is_another_datasets_is_not_there(store: LabelStore, ids: list[int]) -> None:
    store.create("others", by="ann")
    number = show_image(store, "toys", ids[0]).annotations[0].id
    assert list_images(store, "others") == []
    for ask in (
        lambda: show_image(store, "others", ids[0]),
        lambda: show_annotation(store, "others", number),
        lambda: list_images(store, "nope"),
    ):
        with pytest.raises(UnknownLabelsError):
            ask()
