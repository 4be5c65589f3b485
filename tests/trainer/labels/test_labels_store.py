from __future__ import annotations

import threading

import numpy as np
import pytest
from sqlalchemy import func, select
from stored_labels import annotation, new_image, noise, png_of

from models_store.errors import BadInputError
from trainer.labels.blobs import BlobStore
from trainer.labels.database import Database, sqlite_url
from trainer.labels.errors import StoreBusyError, UnknownLabelsError
from trainer.labels.new import State
from trainer.labels.store import LabelStore
from trainer.labels.tables import AnnotationRow, ImageRow, ReviewRow


def how_many(store: LabelStore, table: type) -> int:
    with store.database.reading() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


class TestAdding:
    def test_what_was_added_is_counted(self, store):
        added = store.add("toys", [new_image(store, noise(i), name=f"{i}.png") for i in range(6)], by="ann")
        assert (added.images, added.annotations, added.known_images) == (6, 6, 0)
        counts = store.counts("toys")
        assert (counts.images, counts.unlabelled) == (6, 0)
        assert counts.annotations == {"draft": 0, "accepted": 6, "rejected": 0}
        assert sum(counts.splits.values()) == 6

    def test_sending_it_again_changes_nothing(self, store):
        images = [new_image(store, noise(i)) for i in range(3)]
        first, again = (store.add("toys", images, by="ann") for _ in range(2))
        assert again.images == again.annotations == 0
        assert (again.known_images, again.known_annotations) == (3, 3)
        assert again.image_ids == first.image_ids
        assert again.annotation_ids == first.annotation_ids
        assert how_many(store, ReviewRow) == 3

    def test_another_encoding_of_the_same_pixels_is_the_same_image(self, store):
        image = new_image(store, noise(1))
        other = store.blobs.put(png_of(noise(1)) + b"\0")
        first = store.add("toys", [image], by="ann")
        again = store.add("toys", [new_image(store, noise(1), picture=other)], by="ann")
        assert again.image_ids == first.image_ids

    def test_several_annotators_stand_side_by_side(self, store):
        mask = np.zeros((32, 32), bool)
        mask[2:9, 2:9] = True
        marks = [annotation(store, mask, annotator=who) for who in ("ann", "bob")]
        added = store.add("toys", [new_image(store, noise(1), marks=marks)], by="ann")
        assert added.annotations == 2

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"prompts": {}}, "needs a phrase"),
            ({"prompts": {"p1": "  "}}, "needs a phrase"),
            ({"prompts": {"p1": "x" * 501}}, "too long; 500 are accepted"),
            ({"annotator": ""}, "1 to 200 characters"),
        ],
    )
    def test_one_bad_annotation_keeps_everything_out(self, store, changes, said):
        good = new_image(store, noise(1))
        bad = new_image(store, noise(2), marks=[annotation(store, np.ones((32, 32), bool), **changes)])
        with pytest.raises(BadInputError, match=said):
            store.add("toys", [good, bad], by="ann")
        assert how_many(store, ImageRow) == 0

    def test_a_file_that_is_not_kept_keeps_everything_out(self, store):
        bad = new_image(store, noise(2), picture="0" * 64)
        with pytest.raises(UnknownLabelsError, match="no file with digest"):
            store.add("toys", [new_image(store, noise(1)), bad], by="ann")
        assert how_many(store, ImageRow) == how_many(store, AnnotationRow) == 0

    def test_an_unknown_dataset_lists_those_there_are(self, store):
        with pytest.raises(UnknownLabelsError, match="no labelled dataset 'cats'; there are: toys"):
            store.add("cats", [], by="ann")

    def test_many_writers_at_once_lose_nothing(self, store):
        images = [[new_image(store, noise(10 * w + i)) for i in range(5)] for w in range(4)]
        failed = []

        def write(mine):
            try:
                for image in mine:
                    store.add("toys", [image], by="ann")
            except Exception as error:
                failed.append(error)

        threads = [threading.Thread(target=write, args=(mine,)) for mine in images]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []
        assert how_many(store, ImageRow) == 20


class TestReviews:
    def test_the_last_one_counts_and_all_are_kept(self, store):
        added = store.add("toys", [new_image(store, noise(1))], by="ann")
        store.review(added.annotation_ids[0], State.REJECTED, by="bob", reason="not a square")
        assert store.counts("toys").annotations == {"draft": 0, "accepted": 0, "rejected": 1}
        assert store.counts("toys").unlabelled == 1
        store.review(added.annotation_ids[0], State.ACCEPTED, by="eve", reason="it is")
        assert store.counts("toys").annotations["accepted"] == 1
        assert how_many(store, ReviewRow) == 3

    def test_of_no_annotation_is_refused(self, store):
        with pytest.raises(UnknownLabelsError, match="no annotation 99"):
            store.review(99, State.ACCEPTED, by="ann", reason="")


class TestState:
    def test_a_second_opening_finds_it_up_to_date_and_unchanged(self, store):
        store.add("toys", [new_image(store, noise(1))], by="ann")
        again = LabelStore(type(store.database)(store.database.url), store.blobs)
        assert again.counts("toys").images == 1
        again.database.close()

    def test_an_error_half_way_leaves_nothing(self, store):
        image = new_image(store, noise(1))
        torn = new_image(store, noise(2), marks=[None])
        with pytest.raises(AttributeError):
            store.add("toys", [image, torn], by="ann")
        assert how_many(store, ImageRow) == 0

    def test_a_locked_database_says_so_and_writes_nothing(self, tmp_path):
        one = Database(sqlite_url(tmp_path / "labels.db"))
        other = Database(sqlite_url(tmp_path / "labels.db"), busy_seconds=0.1)
        waiting = LabelStore(other, BlobStore(tmp_path / "blobs"))
        with one.writing(), pytest.raises(StoreBusyError, match="locked or away"):
            waiting.create("toys", by="ann")
        assert waiting.create("toys", by="ann")
