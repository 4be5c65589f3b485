"""Which images belong together, as each layout says it."""

import json
import shutil

import pytest
from data_files import save_picture, write_camus, write_indices, write_plain, write_voc
from test_data_coco import annotation, polygon, write_coco
from toy_data import edit_split, write_toy

from trainer.data.dataset import open_dataset
from trainer.data.faults import UnusableDataError


def groups_in(folder, split="train", **options):
    return [item.group for item in open_dataset(folder, **options).items(split)]


def faults_of(folder):
    with pytest.raises(UnusableDataError) as caught:
        open_dataset(folder)
    return caught.value.faults


class TestReading:
    def test_entries_of_the_benchmarks_json(self, tmp_path):
        folder = write_toy(tmp_path / "toy", train=3, val=2)
        edit_split(folder, "train", lambda e: e[1].update(group="p1"))
        assert groups_in(folder) == [None, "p1", None]

    def test_one_row_of_an_image_tells_for_all(self, tmp_path):
        folder = write_camus(tmp_path / "camus")
        edit_split(folder, "train", lambda e: e[1].update(group="p1"))
        assert groups_in(folder) == ["p1"] * 3 + [None] * 3

    def test_entries_beside_class_indices(self, tmp_path):
        folder = write_indices(tmp_path / "roads")
        edit_split(folder, "train", lambda e: e[0].update(group="drive 1"))
        assert groups_in(folder) == ["drive 1", "drive 1"]

    def test_images_of_coco(self, tmp_path):
        folder = write_coco(tmp_path / "coco", [annotation(1, 3, polygon(2, 3, 12, 23))])
        path = folder / "annotations" / "instances_train2017.json"
        content = json.loads(path.read_text())
        # The second has no objects, so it is none of the labelled images.
        for image in content["images"]:
            image["group"] = "p1"
        path.write_text(json.dumps(content))
        assert groups_in(folder) == ["p1"]

    def test_a_table_beside_class_folders(self, tmp_path):
        folder = write_voc(tmp_path / "voc")
        (folder / "groups.csv").write_text("image,group\n2007_1,p1\n2008_2,p2\n")
        assert groups_in(folder) == ["p1", "p1", None]
        assert groups_in(folder, "val") == [None, "p2", "p2"]


class TestSeveralSides:
    def test_a_patient_in_two_splits_is_told(self, tmp_path):
        folder = write_toy(tmp_path / "toy", train=3, val=2)
        edit_split(folder, "train", lambda e: (e[0].update(group="p1"), e[1].update(group="p2")))
        edit_split(folder, "val", lambda e: e[1].update(group="p2"))
        told = [warning for warning in open_dataset(folder).warnings if "groups" in warning]
        assert len(told) == 1
        assert told[0].startswith("1 of 2 groups have images in several splits (such as 'p2')")

    def test_nothing_is_told_of_groups_of_one_split(self, tmp_path):
        folder = write_toy(tmp_path / "toy", train=3, val=2)
        edit_split(folder, "train", lambda e: e[0].update(group="p1"))
        edit_split(folder, "val", lambda e: e[1].update(group="p2"))
        assert not [warning for warning in open_dataset(folder).warnings if "groups" in warning]


class TestFaults:
    def test_an_image_of_two_groups(self, tmp_path):
        folder = write_toy(tmp_path / "toy", train=3, val=2)
        edit_split(folder, "train", lambda e: e[1].update(group="p1"))
        (folder / "groups.csv").write_text("image,group\ntrain_01.png,p2\n")
        assert faults_of(folder) == ("groups.csv: train_01.png is in group 'p2', and in 'p1' elsewhere",)

    def test_two_rows_of_an_image_that_differ(self, tmp_path):
        folder = write_camus(tmp_path / "camus")
        edit_split(folder, "train", lambda e: [e[row].update(group=f"p{row}") for row in (0, 2)])
        (fault,) = faults_of(folder)
        assert fault.startswith(str(folder / "images" / "train" / "patient0001_2CH.png"))
        assert fault.endswith("is in group 'p2', and in 'p0' elsewhere")

    def test_a_group_that_is_no_text(self, tmp_path):
        folder = write_toy(tmp_path / "toy", train=3, val=2)
        edit_split(folder, "train", lambda e: e[1].update(group=7))
        assert faults_of(folder) == ("anns/train.json, entry 1: the group of train_01.png must be a text",)
        coco = write_coco(tmp_path / "coco", [annotation(1, 3, polygon(2, 3, 12, 23))])
        path = coco / "annotations" / "instances_train2017.json"
        path.write_text(path.read_text().replace('"id": 1, "file_name"', '"id": 1, "group": "", "file_name"'))
        assert faults_of(coco)[0].startswith(f"{path}: group '' must be of 1 to 190 characters")


class TestDrawnSplit:
    """Where a folder has no splits of its own."""

    def table(self, folder, group_of):
        lines = [f"case {at}.png,{group_of(at)}" for at in range(10)]
        (folder / "groups.csv").write_text("\n".join(["image,group", *lines]))

    @pytest.mark.parametrize("seed", range(5))
    def test_a_group_is_not_parted(self, tmp_path, seed):
        folder = write_plain(tmp_path / "p")
        self.table(folder, lambda at: f"{seed} {at // 2}")
        dataset = open_dataset(folder, phrase="box")
        train, val = ({item.group for item in dataset.items(split)} for split in ("train", "val"))
        assert (len(train), len(val)) == (4, 1)
        assert not train & val
        (remark,) = dataset.warnings
        assert remark.startswith("the folder has no splits: 2 images were drawn for val")
        assert remark.endswith("images of one group stayed together")

    def test_which_one_follows_the_groups_name(self, tmp_path):
        folder = write_plain(tmp_path / "p")
        drawn = set()
        for seed in range(8):
            self.table(folder, lambda at, seed=seed: f"{seed} {at // 2}")
            drawn.add(frozenset(item.name for item in open_dataset(folder, phrase="box").items("val")))
        assert len(drawn) > 2

    def test_a_copy_joins_two_groups(self, tmp_path):
        folder = write_plain(tmp_path / "p")
        for sub in ("images", "masks"):
            shutil.copy(folder / sub / "case 0.png", folder / sub / "case 9.png")
        self.table(folder, lambda at: f"p{at // 5}")
        dataset = open_dataset(folder, phrase="box")
        # All are of one group then, and are drawn image by image.
        assert (len(dataset.items("train")), len(dataset.items("val"))) in {(8, 2), (7, 3)}
        assert any("all images are of one group" in text for text in dataset.warnings)
        names = [{item.name for item in dataset.items(split)} for split in ("train", "val")]
        assert any({"case 0.png", "case 9.png"} <= side for side in names)

    def test_images_of_coco_name_theirs(self, tmp_path):
        boxes = [annotation(number, 3, polygon(5, 5, 15, 15)) for number in range(1, 11)]
        folder = write_coco(tmp_path / "one", boxes, split="default", images=10)
        path = folder / "annotations" / "instances_default.json"
        content = json.loads(path.read_text())
        for image in content["images"]:
            image["group"] = f"p{image['id'] % 3}"
        path.write_text(json.dumps(content))
        dataset = open_dataset(folder)
        train, val = ({item.group for item in dataset.items(split)} for split in ("train", "val"))
        assert (len(train), len(val)) == (2, 1)
        assert not train & val

    def test_a_fault_of_the_table_is_told_once(self, tmp_path):
        folder = write_plain(tmp_path / "p")
        save_picture(tmp_path / "p" / "images" / "other" / "case 1.png", 999)
        shutil.copytree(folder / "masks", tmp_path / "m")
        (tmp_path / "m").rename(folder / "masks" / "other")
        for path in (folder / "masks" / "other").iterdir():
            if path.name != "case 1.png":
                path.unlink()
        (folder / "groups.csv").write_text("image,group\ncase 1,p\nnobody,p\n")
        with pytest.raises(UnusableDataError) as caught:
            open_dataset(folder, phrase="box")
        assert caught.value.faults == (
            "groups.csv: case 1 is more than one of the labelled images",
            "groups.csv: nobody is none of the labelled images",
        )
