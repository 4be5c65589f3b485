from __future__ import annotations

from collections import Counter

import numpy as np
from PIL import Image
from sqlalchemy import select
from stored_labels import new_image, noise

from trainer.labels.likeness import NEAR, fingerprint, nearest
from trainer.labels.new import Split
from trainer.labels.splits import BLOCK, drawn_split
from trainer.labels.tables import GroupRow, ImageRow


def splits(store) -> dict[str, str]:
    with store.database.reading() as session:
        rows = session.execute(select(ImageRow.name, GroupRow.split).join(GroupRow))
        return {name: split for name, split in rows}


def put(store, seeds, **changes):
    images = [new_image(store, noise(seed), name=f"{seed}.png", **changes) for seed in seeds]
    return store.add("toys", images, by="ann")


class TestDrawing:
    def test_one_of_every_five_goes_to_val(self):
        for block in range(20):
            drawn = Counter(drawn_split("toys", block * BLOCK + place) for place in range(BLOCK))
            assert drawn == {Split.TRAIN: BLOCK - 1, Split.VAL: 1}

    def test_datasets_differ(self):
        one, other = ([drawn_split(name, i) for i in range(50)] for name in ("toys", "tools"))
        assert one != other


class TestSplits:
    def test_never_move_when_more_is_added(self, store):
        put(store, range(10))
        before = splits(store)
        put(store, range(30))
        after = splits(store)
        assert {name: after[name] for name in before} == before
        assert Counter(after.values()) == {"train": 24, "val": 6}

    def test_a_group_stays_together(self, store):
        for seed in range(12):
            put(store, [seed], group=f"patient {seed % 3}")
        of = splits(store)
        for patient in range(3):
            assert len({of[f"{seed}.png"] for seed in range(patient, 12, 3)}) == 1

    def test_a_copy_joins_its_original(self, store):
        put(store, range(10))
        for seed in range(10):
            pixels = np.clip(noise(seed).astype(int) + 9, 0, 255).astype(np.uint8)
            store.add("toys", [new_image(store, pixels, name=f"copy of {seed}")], by="ann")
        of = splits(store)
        assert all(of[f"copy of {seed}"] == of[f"{seed}.png"] for seed in range(10))
        assert "val" in of.values()

    def test_a_split_it_came_with_is_followed(self, store):
        added = put(store, range(4), split=Split.VAL)
        assert set(splits(store).values()) == {"val"}
        assert added.remarks == []

    def test_a_split_it_came_with_does_not_part_a_group(self, store):
        put(store, [1], split=Split.VAL, group="p")
        added = put(store, [2], split=Split.TRAIN, group="p")
        assert splits(store) == {"1.png": "val", "2.png": "val"}
        assert added.remarks == ["2.png did not go into train: what it belongs with is in val"]

    def test_a_copy_under_another_patient_follows_the_original(self, store):
        put(store, [1], split=Split.VAL, group="p")
        pixels = noise(1).copy()
        pixels[0, 0] = 255 - pixels[0, 0]
        store.add("toys", [new_image(store, pixels, name="copy", split=Split.TRAIN, group="q")], by="ann")
        assert splits(store)["copy"] == "val"


class TestLikeness:
    def test_smaller_brighter_copies_are_near_and_others_are_not(self):
        picture = noise(3, side=128)
        small = np.array(Image.fromarray(picture).resize((90, 90)))
        bright = np.clip(picture.astype(int) + 20, 0, 255).astype(np.uint8)
        prints = [fingerprint(noise(seed, side=128)) for seed in range(3)]
        assert nearest(fingerprint(small), [*prints, fingerprint(picture)]) == 3
        assert nearest(fingerprint(bright), [*prints, fingerprint(picture)]) == 3
        assert nearest(fingerprint(picture), prints) is None
        assert nearest(fingerprint(picture), []) is None
        assert NEAR < 256 / 4
