"""What is exported reads as what is kept, in every layout."""

from __future__ import annotations

import numpy as np
import pytest
from stored_labels import annotation, new_image, noise, store_in

from models_store.errors import BadInputError, UnknownNameError
from trainer.data.dataset import open_dataset
from trainer.labels.export.writing import WRITERS, export
from trainer.labels.likeness import pixels_digest
from trainer.labels.revisions import freeze, manifest
from trainer.labels.rows import file_names, label_of, read_mask, readable


@pytest.fixture
def store(tmp_path):
    store = store_in(tmp_path)
    store.create("toys", by="ann")
    yield store
    store.database.close()


def half(seed: int) -> np.ndarray:
    mask = np.zeros((32, 32), bool)
    mask[: 4 + seed, 3:] = True
    return mask


def fill(store, *, classes: bool, count: int = 10, **changes) -> str:
    images = []
    for seed in range(count):
        marks = [annotation(store, half(seed), class_name="top" if classes else None, **changes)]
        if classes:
            rest = {"prompts": {"p0": "", "p1": "rest"}, "class_name": "rest"}
            marks[0] = annotation(store, half(seed), class_name="top", prompts={"p0": "", "p1": "top"})
            marks.append(annotation(store, ~half(seed), **rest))
        images.append(new_image(store, noise(seed), name=f"toy {seed}.png", marks=marks))
    store.add("toys", images, by="ann")
    return freeze(store, "toys", by="ann").digest


def kept(store, digest):
    return {
        (row["pixels"], label_of(row), row["split"]): read_mask(store.blobs, row).tobytes()
        for row in manifest(store, digest)
    }


def read(folder, phrase=None):
    dataset = open_dataset(folder, phrase=phrase)
    found = {}
    for split, items in dataset.splits.items():
        for item in items:
            asked = phrase or item.class_name or item.phrases("p1")[0]
            found[pixels_digest(item.image()), asked, split] = item.mask().tobytes()
    return found


class TestRoundTrip:
    @pytest.mark.parametrize("format", ["tasks", "coco", "class-folders", "class-index"])
    def test_several_classes(self, store, tmp_path, format):
        digest = fill(store, classes=True)
        assert export(store, digest, format, tmp_path / "out") == []
        assert read(tmp_path / "out") == kept(store, digest)

    @pytest.mark.parametrize("format", ["tasks", "coco", "class-folders", "class-index", "plain"])
    def test_one_thing(self, store, tmp_path, format):
        digest = fill(store, classes=False)
        export(store, digest, format, tmp_path / "out")
        assert read(tmp_path / "out", "a square" if format == "plain" else None) == kept(store, digest)

    def test_tasks_hold_every_phrase_and_group(self, store, tmp_path):
        marks = [annotation(store, half(1), prompts={"p0": "", "p1": ["a", "b"], "p2": "c"})]
        image = new_image(store, noise(1), marks=marks, group="patient 7")
        store.add("toys", [image], by="ann")
        export(store, freeze(store, "toys", by="ann").digest, "tasks", tmp_path / "out")
        dataset = open_dataset(tmp_path / "out")
        (item,) = (item for items in dataset.splits.values() for item in items)
        assert item.prompts == {"p0": "", "p1": ["a", "b"], "p2": "c"}


class TestLosses:
    def test_what_a_format_cannot_hold_is_told_and_refused(self, store, tmp_path):
        digest = fill(store, classes=False, prompts={"p1": "a square", "p2": "a box"})
        with pytest.raises(BadInputError, match="coco cannot hold everything: other phrases of 10 rows"):
            export(store, digest, "coco", tmp_path / "out")
        assert not (tmp_path / "out").exists()
        assert export(store, digest, "coco", tmp_path / "out", lossy=True) == ["other phrases of 10 rows"]

    def test_an_empty_mask_is_not_dropped_in_silence(self, store, tmp_path):
        marks = [annotation(store, np.zeros((32, 32), bool))]
        store.add("toys", [new_image(store, noise(99), marks=marks)], by="ann")
        digest = fill(store, classes=False)
        for format in ("coco", "class-index"):
            with pytest.raises(BadInputError, match="1 empty masks"):
                export(store, digest, format, tmp_path / "out")
        export(store, digest, "class-folders", tmp_path / "out")
        assert read(tmp_path / "out") == kept(store, digest)

    def test_overlapping_masks_have_no_class_index(self, store, tmp_path):
        marks = [annotation(store, half(s), class_name=str(s), prompts={"p1": str(s)}) for s in (1, 2)]
        store.add("toys", [new_image(store, noise(1), marks=marks)], by="ann")
        digest = freeze(store, "toys", by="ann").digest
        with pytest.raises(BadInputError, match="overlaps another"):
            export(store, digest, "class-index", tmp_path / "out")
        assert list(tmp_path.glob("out*")) == list(tmp_path.glob(".aside*")) == []

    def test_plain_folders_hold_one_thing(self, store, tmp_path):
        digest = fill(store, classes=True)
        with pytest.raises(BadInputError, match="here are 2; use tasks or coco"):
            export(store, digest, "plain", tmp_path / "out")

    def test_formats_and_targets_are_checked(self, store, tmp_path):
        digest = fill(store, classes=False)
        with pytest.raises(UnknownNameError, match=f"accepted are {', '.join(WRITERS)}"):
            export(store, digest, "yolo", tmp_path / "out")
        with pytest.raises(BadInputError, match="is there already"):
            export(store, digest, "tasks", tmp_path)


class TestNames:
    @pytest.mark.parametrize(
        ("name", "safe"),
        [("a b/../c.png", "c"), ("<img src=x>.png", "img_src_x"), ("..", "image"), ("å.png", "image")],
    )
    def test_become_harmless(self, name, safe):
        assert readable(name) == safe

    def test_of_two_images_are_never_the_same(self):
        names = ["a.png", "A.png", "../a.png", ".a.png", "b.png", "b.jpg"]
        rows = [
            {"pixels": f"{at:064x}"[::-1], "image": name, "suffix": "." + name[-3:]}
            for at, name in enumerate(names)
        ]
        files = list(file_names(rows).values())
        assert len({file.lower().rpartition(".")[0] for file in files}) == len(names)
        assert not [file for file in files if "/" in file or file.startswith(".")]
