from __future__ import annotations

import json

import numpy as np
import pytest
from stored_labels import annotation, new_image, noise

from models_store.errors import BadInputError, DamagedError
from trainer.data.dataset import open_dataset
from trainer.labels.new import Split, State
from trainer.labels.revisions import freeze, lay_out, manifest, revisions


def fill(store, seeds):
    return store.add("toys", [new_image(store, noise(i), name=f"toy {i}.png") for i in seeds], by="ann")


class TestFreeze:
    def test_the_same_state_is_the_same_revision(self, store):
        fill(store, range(6))
        first, again = freeze(store, "toys", by="ann"), freeze(store, "toys", by="bob")
        assert first == again
        assert first.number == 1
        fill(store, [7])
        second = freeze(store, "toys", by="ann")
        assert (second.number, len(revisions(store, "toys"))) == (2, 2)
        assert second.digest != first.digest
        assert second.splits != first.splits

    def test_counts_images_and_rows_by_split(self, store):
        fill(store, range(10))
        assert freeze(store, "toys", by="ann").counts == {
            "images": {"train": 8, "val": 2},
            "rows": {"train": 8, "val": 2},
        }

    def test_only_what_is_accepted_is_in_it(self, store):
        added = fill(store, range(3))
        store.review(added.annotation_ids[1], State.REJECTED, by="bob", reason="no")
        rows = manifest(store, freeze(store, "toys", by="ann").digest)
        assert [row["image"] for row in rows] == ["toy 0.png", "toy 2.png"]

    def test_the_newest_accepted_mask_of_a_thing_counts(self, store):
        added = fill(store, [1])
        mask = np.zeros((32, 32), bool)
        mask[0:3] = True
        newer = annotation(store, mask, annotator="bob")
        store.annotate(added.image_ids[0], newer, by="bob")
        store.annotate(
            added.image_ids[0], annotation(store, ~mask, annotator="eve", state=State.DRAFT), by="eve"
        )
        (row,) = manifest(store, freeze(store, "toys", by="ann").digest)
        assert (row["mask"], row["annotator"]) == (newer.mask, "bob")

    def test_nothing_accepted_is_refused(self, store):
        with pytest.raises(BadInputError, match="no accepted annotations"):
            freeze(store, "toys", by="ann")

    def test_a_changed_manifest_is_found_out(self, store):
        fill(store, range(3))
        digest = freeze(store, "toys", by="ann").digest
        path = store.blobs.path(digest)
        path.write_bytes(path.read_bytes().replace(b'"train"', b'"val"', 1))
        with pytest.raises(DamagedError, match="changed or damaged"):
            manifest(store, digest)


class TestLayOut:
    def test_gives_a_folder_that_can_be_tuned_on(self, store, tmp_path):
        fill(store, range(10))
        revision = freeze(store, "toys", by="ann")
        folder = lay_out(store, revision.digest, tmp_path / "revisions")
        dataset = open_dataset(folder)
        assert {split: len(dataset.items(split)) for split in Split} == {"train": 8, "val": 2}
        item = dataset.items("train")[0]
        assert item.prompts == {"p1": "a square"}
        assert item.mask().sum() == 64
        assert item.name.startswith("toy ")
        assert lay_out(store, revision.digest, tmp_path / "revisions") == folder

    def test_classes_are_told_apart(self, store, tmp_path):
        mask = np.zeros((32, 32), bool)
        mask[:9] = True
        marks = [
            annotation(store, mask, class_name="top", prompts={"p1": "the top", "p2": ["upper", "high"]}),
            annotation(store, ~mask, class_name="rest", prompts={"p1": "the rest"}),
        ]
        store.add("toys", [new_image(store, noise(i), marks=marks) for i in range(6)], by="ann")
        folder = lay_out(store, freeze(store, "toys", by="ann").digest, tmp_path / "revisions")
        dataset = open_dataset(folder)
        assert dataset.classes == ("rest", "top")
        assert len(dataset.items("train")) == 2 * len({i.image_path for i in dataset.items("train")})

    def test_one_cut_short_is_made_anew(self, store, tmp_path):
        fill(store, range(6))
        digest = freeze(store, "toys", by="ann").digest
        left = tmp_path / "revisions" / digest
        (left / "images").mkdir(parents=True)
        folder = lay_out(store, digest, tmp_path / "revisions")
        assert json.loads((folder / "revision.json").read_text()) == {"revision": digest}
        open_dataset(folder)
