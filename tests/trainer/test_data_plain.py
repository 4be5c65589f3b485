import shutil

import pytest
from data_files import box, save_mask, save_picture, write_indices, write_plain

from models_store.errors import BadInputError, UnknownNameError
from trainer.data.dataset import open_dataset
from trainer.data.folder import choose_layout, read_split


class TestDrawnSplit:
    def test_a_fifth_is_drawn_for_val_and_it_is_said(self, tmp_path):
        dataset = open_dataset(write_plain(tmp_path / "p"), phrase="box")
        assert dataset.format == "plain"
        train, val = ({item.name for item in dataset.items(split)} for split in ("train", "val"))
        assert len(train) == 8
        assert len(val) == 2
        assert not train & val
        assert any("2 images were drawn for val with seed 12345" in text for text in dataset.warnings)

    def test_the_draw_follows_content_and_not_names_or_place(self, tmp_path):
        folder = write_plain(tmp_path / "p")
        chosen = {item.image_path.read_bytes() for item in read_split(folder, "val")}
        for sub in ("images", "masks"):
            for path in sorted((folder / sub).iterdir()):
                path.rename(path.with_name(f"renamed {path.name[::-1].split('.', 1)[1][::-1]}.png"))
        moved = folder.rename(tmp_path / "elsewhere")
        assert {item.image_path.read_bytes() for item in read_split(moved, "val")} == chosen

    def test_copies_of_one_file_stay_on_one_side(self, tmp_path):
        folder = write_plain(tmp_path / "p", count=6)
        for sub in ("images", "masks"):
            for path in list((folder / sub).iterdir()):
                shutil.copy(path, path.with_name(f"copy of {path.name}"))
        dataset = open_dataset(folder, phrase="box")
        assert len(dataset.items("train")) + len(dataset.items("val")) == 12
        assert any("are copies of others of the same split" in text for text in dataset.warnings)


class TestSplitFolders:
    @pytest.mark.parametrize("above", [True, False])
    def test_splits_above_or_below_images_and_masks(self, tmp_path, above):
        for seed, split in enumerate(("train", "valid")):
            images, masks = (
                tmp_path / split / kind if above else tmp_path / kind / split for kind in ("images", "masks")
            )
            save_picture(images / "1.jpg", seed)
            save_mask(masks / "1_mask.png", box(2, 2, 20, 20))
        dataset = open_dataset(tmp_path, phrase="box")
        assert {split: len(items) for split, items in dataset.splits.items()} == {"train": 1, "val": 1}
        assert dataset.items("val")[0].mask().sum() == 18 * 18
        # Files numbered from 1 in each split are usual, but patients are numbered too.
        assert any("1 names are in several splits" in text for text in dataset.warnings)


def test_there_are_no_phrases_so_one_must_be_given(tmp_path):
    with pytest.raises(BadInputError, match="no phrases in this dataset; give one phrase for all"):
        open_dataset(write_plain(tmp_path / "p"))


def test_images_without_masks_and_masks_without_images_are_named(tmp_path):
    folder = write_plain(tmp_path / "p")
    (folder / "masks" / "case 3.png").rename(folder / "masks" / "case 33.png")
    with pytest.raises(BadInputError) as caught:
        open_dataset(folder, phrase="box")
    assert "case 3.png: has no mask in masks/" in str(caught.value)
    assert "case 33.png: has no image in images/" in str(caught.value)
    assert len(caught.value.faults) == 2


def test_class_indices_may_lie_so_too(tmp_path):
    folder = write_indices(tmp_path / "roads")
    shutil.rmtree(folder / "anns")
    dataset = open_dataset(folder)
    assert dataset.format == "class-index"
    assert len(dataset.items("train")) + len(dataset.items("val")) == 3


class TestChoosing:
    def test_a_folder_that_looks_like_nothing_is_told_what_is_accepted(self, tmp_path):
        (tmp_path / "pictures").mkdir()
        with pytest.raises(UnknownNameError) as caught:
            choose_layout(tmp_path)
        for name in ("tasks", "coco", "class-folders", "class-index", "plain"):
            assert f"\n  {name}: " in str(caught.value)
        with pytest.raises(UnknownNameError, match="no dataset folder at"):
            choose_layout(tmp_path / "nothing")

    def test_a_named_format_must_fit(self, tmp_path):
        folder = write_plain(tmp_path / "p")
        assert choose_layout(folder, "plain").name == "plain"
        with pytest.raises(UnknownNameError, match="does not look like 'coco'"):
            choose_layout(folder, "coco")
        with pytest.raises(
            UnknownNameError, match="no dataset format 'voc'; accepted are class-index, tasks"
        ):
            choose_layout(folder, "voc")
        with pytest.raises(UnknownNameError, match="no split 'test'; it has train, val"):
            read_split(folder, "test")


def test_nothing_in_the_folders_is_refused(tmp_path):
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    with pytest.raises(BadInputError, match="there are no images in"):
        open_dataset(tmp_path, phrase="box")
