import shutil

import pytest
from PIL import Image
from toy_data import PHRASE, edit_split, write_toy

from models_store.errors import BadInputError, UnknownNameError
from trainer.data.dataset import open_dataset
from trainer.data.faults import UnusableDataError


@pytest.fixture
def folder(tmp_path):
    return write_toy(tmp_path / "toy", train=4, val=3)


def faults_of(folder, **options) -> tuple[str, ...]:
    with pytest.raises(UnusableDataError) as caught:
        open_dataset(folder, **options)
    return caught.value.faults


def test_a_sound_dataset_opens_without_a_word(folder):
    dataset = open_dataset(folder)
    assert dataset.warnings == ()
    assert dataset.classes == ()
    assert [item.name for item in dataset.items("val")] == ["val_00.png", "val_01.png", "val_02.png"]
    with pytest.raises(UnknownNameError, match="no split 'test'; it has train, val"):
        dataset.items("test")


class TestFaults:
    def test_are_listed_file_by_file_over_all_splits(self, folder):
        (folder / "images" / "train_00.png").write_bytes(b"not an image")
        Image.new("L", (5, 5)).save(folder / "masks" / "train_01.png")
        shutil.copy(folder / "images" / "train_02.png", folder / "masks" / "train_02.png")
        (folder / "masks" / "val_00.png").unlink()
        edit_split(folder, "val", lambda e: e[1]["prompts"].update(p1=""))
        listed = faults_of(folder)
        assert len(listed) == 5
        text = "\n".join(listed)
        assert "train_00.png cannot be read as an image" in text
        assert "train_01.png: image is 84x72, but its mask is 5x5" in text
        assert "train_02.png is no mask of 0 and 255" in text
        assert "anns/val.json, entry 0: missing masks/val_00.png" in text
        assert "val_01.png: prompt 'p1' is empty" in text

    def test_the_message_is_short_and_the_list_is_whole(self, tmp_path):
        folder = write_toy(tmp_path / "toy", train=30, val=2)
        for path in (folder / "masks").glob("train_*"):
            path.unlink()
        with pytest.raises(BadInputError) as caught:
            open_dataset(folder)
        assert len(caught.value.faults) == 30
        assert "30 faults were found" in str(caught.value)
        assert str(caught.value).endswith("and 10 more")
        assert len(str(caught.value).splitlines()) == 22

    def test_a_phrase_that_no_image_has_is_said_once(self, folder):
        assert faults_of(folder, prompt_key="p5") == (
            "no image can be asked for: train_00.png has no prompt 'p5'; it has p0, p1",
        )
        assert open_dataset(folder, prompt_key="p5", phrase="thing").warnings == ()
        assert faults_of(folder, phrase=" ") == ("the phrase is empty; give at least one word",)


class TestDuplicates:
    def test_one_image_in_two_splits_is_a_fault_whatever_its_file(self, folder):
        image = Image.open(folder / "images" / "train_01.png")
        image.save(folder / "images" / "val_00.bmp")
        shutil.copy(folder / "masks" / "train_01.png", folder / "masks" / "val_00.png")
        edit_split(folder, "val", lambda e: e[0].update(img_name="val_00.bmp"))
        assert faults_of(folder) == ("the same image is in train (train_01.png) and val (val_00.bmp)",)

    def test_one_file_in_two_splits_is_a_fault(self, folder):
        edit_split(folder, "val", lambda e: e[0].update(img_name="train_00.png", mask_name="train_00.png"))
        assert faults_of(folder) == ("the same image is in train (train_00.png) and val (train_00.png)",)

    def test_copies_within_a_split_are_told(self, folder):
        for kind in ("images", "masks"):
            shutil.copy(folder / kind / "train_00.png", folder / kind / "again.png")
        entry = {"img_name": "again.png", "mask_name": "again.png", "prompts": {"p1": PHRASE}}
        edit_split(folder, "train", lambda e: e.append(entry))
        assert open_dataset(folder).warnings == (
            "train: 1 of the images are copies of others of the same split",
        )


def test_real_datasets_open(shared_data):
    for name in ("kvasir_polyp_mini", "isic2017_skin_mini", "hc18_fetal_head_mini", "chasedb1_vessels"):
        assert open_dataset(shared_data / name).format == "tasks"
