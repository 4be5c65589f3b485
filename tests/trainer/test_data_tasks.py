import numpy as np
import pytest
from data_files import save_mask, save_picture, write_camus, write_json
from PIL import Image

from models_store.errors import BadInputError
from trainer.data.dataset import open_dataset
from trainer.data.folder import choose_layout, read_split


class TestCamus:
    def test_masks_and_images_lie_in_sub_folders_and_val_shares_those_of_train(self, tmp_path):
        folder = write_camus(tmp_path / "camus")
        dataset = open_dataset(folder)
        assert dataset.format == "tasks"
        assert {split: len(items) for split, items in dataset.splits.items()} == {
            "train": 6,
            "val": 6,
            "test": 6,
        }
        item = dataset.items("val")[1]
        assert item.image_path == folder / "images" / "train" / "patient0003_2CH.png"
        assert item.mask_path == folder / "masks" / "train" / "mask_2" / "patient0003_2CH.png"
        assert item.mask().sum() == 10 * 25
        assert item.phrases("p1")[1] == "Myocardium in the cardiac ultrasound."
        assert dataset.items("test")[0].image_path.parent.name == "test"

    def test_several_structures_of_one_image_are_no_duplicates(self, tmp_path):
        assert open_dataset(write_camus(tmp_path / "camus")).warnings == ()


class TestMasks:
    def test_jpeg_and_anti_aliased_masks_are_foreground_above_the_middle(self, tmp_path, shared_data):
        truth = read_split(shared_data / "kvasir_polyp_mini", "train")[0]
        own = Image.open(truth.mask_path)
        save_picture(tmp_path / "images" / "a.jpg", 1)
        save_picture(tmp_path / "images" / "b.png", 2)
        (tmp_path / "masks").mkdir()
        for name in ("images/a.jpg", "images/b.png"):
            Image.open(tmp_path / name).resize(own.size).save(tmp_path / name)
        own.save(tmp_path / "masks" / "a.jpg", quality=60)
        half = own.resize((own.width // 2, own.height // 2), Image.Resampling.LANCZOS)
        half.resize(own.size, Image.Resampling.BILINEAR).save(tmp_path / "masks" / "b.png")
        for split, mask in (("train", "a.jpg"), ("val", "b.png")):
            image = "a.jpg" if split == "train" else "b.png"
            entry = {"img_name": image, "mask_name": mask, "prompts": {"p1": "polyp"}}
            write_json(tmp_path / "anns" / f"{split}.json", [entry])
        dataset = open_dataset(tmp_path)
        for split in ("train", "val"):
            mask = dataset.items(split)[0].mask()
            assert (mask != truth.mask()).mean() < 0.01
            assert mask.any()
        grey = np.asarray(Image.open(tmp_path / "masks" / "a.jpg"))
        assert len(np.unique(grey)) > 2


class TestFaults:
    @pytest.mark.parametrize(
        ("entry", "fault"),
        [
            ({"img_name": "x.png", "mask_name": "m.png"}, "entry 0: missing images/x.png"),
            ({"img_name": "i.png", "mask_name": "sub/m.png"}, "entry 0: missing masks/sub/m.png"),
            ({"img_name": "../secret.png", "mask_name": "m.png"}, "../secret.png points out of images/"),
            ({"img_name": "i.png"}, "entry 0: needs img_name and mask_name"),
            ({"img_name": "i.png", "mask_name": "m.png", "prompts": ["x"]}, "prompts must map"),
            ({"img_name": "i.png", "mask_name": "m.png", "prompts": {"p1": 3}}, "prompt 'p1' must be a text"),
        ],
    )
    def test_each_entry_that_cannot_be_used_is_named(self, tmp_path, entry, fault):
        save_picture(tmp_path / "images" / "i.png", 1)
        save_picture(tmp_path / "secret.png", 2)
        save_mask(tmp_path / "masks" / "m.png", np.zeros((40, 48), np.bool_))
        write_json(tmp_path / "anns" / "train.json", [entry])
        with pytest.raises(BadInputError) as caught:
            read_split(tmp_path, "train")
        assert fault in str(caught.value)

    def test_a_file_that_is_no_list_is_no_task_file(self, tmp_path):
        write_json(tmp_path / "anns" / "train.json", [])
        assert choose_layout(tmp_path).name == "tasks"
        with pytest.raises(BadInputError, match="must hold a non-empty list"):
            read_split(tmp_path, "train")
