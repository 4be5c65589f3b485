import json

import numpy as np
import pytest
from data_files import box, write_indices, write_json
from PIL import Image

from models_store.errors import BadInputError
from trainer.data.dataset import open_dataset
from trainer.data.examples import examples_digest, load_examples
from trainer.data.folder import read_split


@pytest.fixture
def folder(tmp_path):
    return write_indices(tmp_path / "roads")


def test_there_is_one_item_per_image_and_present_class(folder):
    dataset = open_dataset(folder)
    assert dataset.format == "class-index"
    assert dataset.classes == ("road", "traffic sign")
    assert [i.name for i in dataset.items("train")] == ["road/train.png", "traffic sign/train.png"]
    assert [i.name for i in dataset.items("val")] == ["road/val.png"]
    assert dataset.items("train")[1].mask().sum() == 100


def test_pixels_nobody_labelled_are_left_out_of_loss_and_figures(folder, tiny):
    examples = load_examples(read_split(folder, "train"), tiny.spec)
    left_out = examples.ignored[0].unpack()
    assert left_out[:3].all()
    assert not left_out[3:].any()
    # Shared between the image's classes.
    assert examples.ignored[1] is examples.ignored[0]
    assert examples.ignore[:].shape == examples.masks.shape
    share = examples.ignore[:].float().mean().item()
    assert share == pytest.approx(3 / 40, abs=0.02)
    assert not (examples.ignore[:] & examples.masks[:]).any()
    everything = np.ones(left_out.shape, np.bool_)
    assert np.array_equal(examples.counted(0, everything), ~left_out)


def test_palette_masks_hold_indices_not_colours(folder):
    path = folder / "masks" / "train.png"
    before = [item.mask().sum() for item in read_split(folder, "train")]
    coloured = Image.fromarray(np.asarray(Image.open(path)))
    coloured.putpalette([c for i in range(256) for c in (i * 37 % 256, i * 91 % 256, 128)])
    coloured.save(path)
    with Image.open(path) as saved:
        assert saved.mode == "P"
    assert [item.mask().sum() for item in read_split(folder, "train")] == before


def test_an_index_without_a_name_is_a_fault(folder):
    indices = np.array(Image.open(folder / "masks" / "val.png"))
    indices[0, 0] = 7
    Image.fromarray(indices).save(folder / "masks" / "val.png")
    with pytest.raises(BadInputError, match=r"val\.png: holds index 7, which classes\.json does not name"):
        open_dataset(folder)


def without_void(folder):
    classes = json.loads((folder / "classes.json").read_text())
    del classes["255"]
    write_json(folder / "classes.json", classes)


def test_255_is_what_nobody_labelled_also_where_it_has_no_name(folder, tiny):
    named = load_examples(read_split(folder, "train"), tiny.spec)
    without_void(folder)
    dataset = open_dataset(folder)
    for split in ("train", "val"):
        remark = f"{split}: 1 masks hold index 255, which classes.json does not name"
        assert any(text.startswith(remark) for text in dataset.warnings)
    examples = load_examples(dataset.items("train"), tiny.spec)
    assert examples.ignored[0].equals(named.ignored[0])
    assert examples_digest(examples) == examples_digest(named)


def test_a_mask_of_background_and_255_is_none_of_indices(folder):
    without_void(folder)
    Image.fromarray(box(5, 5, 20, 20).astype(np.uint8) * 255).save(folder / "masks" / "val.png")
    with pytest.raises(BadInputError, match=r"val\.png: holds no class, but index 255, which classes\.json"):
        open_dataset(folder)


def test_what_nobody_labelled_at_all_is_no_fault_where_it_is_named(folder):
    Image.fromarray(np.full((40, 48), 255, np.uint8)).save(folder / "masks" / "val.png")
    assert "val: 1 images hold none of the classes and are not used" in open_dataset(folder).warnings


def test_a_mask_of_several_channels_is_a_fault(folder):
    Image.new("RGB", (48, 40)).save(folder / "masks" / "val.png")
    with pytest.raises(BadInputError, match="has 3 channels"):
        open_dataset(folder)


@pytest.mark.parametrize(
    "classes", [{"a": "road"}, {"0": "void"}, {"0": "road", "1": "road"}, {"-1": "x"}, {"0": 3}, "road"]
)
def test_a_class_table_that_means_nothing_is_refused(folder, classes):
    write_json(folder / "classes.json", classes)
    with pytest.raises(BadInputError, match=r"classes\.json must"):
        read_split(folder, "train")


def test_the_digest_follows_the_class(folder, tiny):
    examples = load_examples(read_split(folder, "train"), tiny.spec)
    one, other = (examples_digest(examples.select([row])) for row in (0, 1))
    assert one != other


def test_real_road_scenes(shared_data, tiny):
    folder = shared_data / "camvid"
    items = read_split(folder, "val")
    names = json.loads((folder / "classes.json").read_text())
    assert {item.class_name for item in items} == set(names.values()) - {"unlabelled"}
    entries = json.loads((folder / "anns" / "val.json").read_text())
    chosen = [item for item in items if item.name.endswith(f"/{entries[0]['img_name']}")]
    examples = load_examples(chosen, tiny.spec)
    assert len(examples.images.distinct) == 1
    indices = np.array(Image.open(folder / "masks" / entries[0]["mask_name"]))
    total = sum(truth.unpack().astype(int) for truth in examples.truths)
    assert np.array_equal(total == 1, indices != 11)
    assert np.array_equal(examples.ignored[0].unpack(), indices == 11)
