import io

import numpy as np
import pytest
from data_files import SIZE, box, picture, save_mask
from PIL import Image

from models_store.errors import BadInputError
from trainer.data.folder import read_split
from trainer.data.masks import read_mask


def verdict(path) -> str:
    """What is wrong with a mask file; nothing if it can be one."""
    try:
        read_mask(path)
    except BadInputError as error:
        return str(error)
    return ""


def saved(tmp_path, array, mode=None):
    path = tmp_path / "mask.png"
    Image.fromarray(array, mode).save(path) if mode else Image.fromarray(array).save(path)
    return path


class TestWhatIsAMask:
    def test_masks_of_every_plain_kind(self, tmp_path):
        mask = box(5, 5, 20, 20)
        for mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
            path = tmp_path / f"{mode}.png"
            Image.fromarray(mask.astype(np.uint8) * 255).convert(mode).save(path)
            assert verdict(path) == ""
            assert np.array_equal(read_mask(path), mask)
        assert verdict(save_mask(tmp_path / "empty.png", np.zeros((9, 9), np.bool_))) == ""

    @pytest.mark.parametrize("name", ["chasedb1_vessels", "dsb2018_nuclei", "fuseg_foot_ulcer"])
    def test_thin_and_tiny_structures_anti_aliased_and_compressed(self, tmp_path, shared_data, name):
        for item in read_split(shared_data / name, "train")[:12]:
            small = Image.open(item.mask_path)
            small = small.resize((small.width // 2, small.height // 2), Image.Resampling.LANCZOS)
            small.save(tmp_path / "mask.jpg", quality=60)
            assert verdict(tmp_path / "mask.jpg") == ""
            # Enlarged without loss, soft edges are blocks of one value, and still no class indices.
            with Image.open(tmp_path / "mask.jpg") as lossy:
                lossy.resize((lossy.width * 4, lossy.height * 4), Image.Resampling.NEAREST).save(
                    tmp_path / "mask.png"
                )
            assert "class indices" not in verdict(tmp_path / "mask.png")


class TestWhatIsNone:
    @pytest.mark.parametrize("name", ["busi", "shenzhen_cxr_lungs", "hc18_fetal_head_mini", "msd_liver_ct"])
    def test_grey_photographs(self, tmp_path, shared_data, name):
        for item in read_split(shared_data / name, "train")[:12]:
            Image.open(item.image_path).convert("L").save(tmp_path / "mask.png")
            found = verdict(tmp_path / "mask.png")
            assert "grey areas, as of a photograph" in found or "nothing is above 127" in found

    def test_colour_images(self, tmp_path):
        picture(1).save(tmp_path / "mask.png")
        assert "it is a colour image" in verdict(tmp_path / "mask.png")

    @pytest.mark.parametrize("value", [1, 11, 127])
    def test_ones_and_indices_where_255_is_meant(self, tmp_path, value):
        path = saved(tmp_path, box(5, 5, 20, 20).astype(np.uint8) * value)
        assert f"its highest value is {value}, so that nothing is above 127" in verdict(path)
        assert "classes.json" in verdict(path)

    def test_indices_beside_255_where_nobody_labelled(self, tmp_path):
        indices = box(5, 5, 20, 20).astype(np.uint8) * 3 + box(20, 20, 40, 35).astype(np.uint8) * 17
        indices[:2] = 255
        assert "values from 1 to 31, as of class indices" in verdict(saved(tmp_path, indices))

    def test_more_than_eight_bits(self, tmp_path):
        path = saved(tmp_path, np.full((SIZE[1], SIZE[0]), 40000, np.uint16))
        assert "more than 8 bits" in verdict(path)

    def test_broken_files(self, tmp_path):
        content = io.BytesIO()
        Image.fromarray((np.random.default_rng(0).random((64, 64)) * 255).astype(np.uint8)).save(
            content, "PNG"
        )
        (tmp_path / "mask.png").write_bytes(content.getvalue()[: len(content.getvalue()) // 2])
        assert "cannot be read as an image" in verdict(tmp_path / "mask.png")
