import pytest
from data_files import box, save_mask, save_picture, write_voc

from models_store.errors import BadInputError
from trainer.data.dataset import open_dataset
from trainer.data.examples import load_examples
from trainer.data.folder import read_split


@pytest.fixture
def voc(tmp_path):
    return write_voc(tmp_path / "VOC2012_binarized")


def test_there_is_one_item_per_image_and_present_class(voc):
    dataset = open_dataset(voc)
    assert dataset.format == "class-folders"
    assert dataset.classes == ("cat", "pottedplant", "sofa")
    assert [i.name for i in dataset.items("train")] == [
        "cat/2007_1.jpg",
        "sofa/2007_1.jpg",
        "pottedplant/2007_2.jpg",
    ]
    sofa = dataset.items("train")[1]
    assert sofa.phrases("p1") == ["sofa"]
    assert (sofa.mask() == box(20, 4, 35, 30)).all()
    assert len(dataset.items("val")) == 3


def test_what_is_left_out_is_said(voc):
    warnings = "\n".join(open_dataset(voc).warnings)
    assert "train: 1 images have no mask of any class and are not used" in warnings
    assert "3 classes, each asked for only in images that have it" in warnings


def test_an_image_is_in_memory_once_for_all_its_classes(voc, tiny):
    examples = load_examples(read_split(voc, "train"), tiny.spec)
    assert len(examples) == 3
    assert len(examples.images.distinct) == 2
    assert examples.rows_by_image() == [[0, 1], [2]]
    assert examples.phrases == (("cat",), ("sofa",), ("pottedplant",))
    assert examples.ignore is None


def test_one_phrase_for_all_classes_is_refused(voc, tiny):
    with pytest.raises(BadInputError, match="one phrase cannot ask for 3 classes"):
        load_examples(read_split(voc, "train"), tiny.spec, phrase="thing")
    with pytest.raises(BadInputError, match="one phrase cannot ask for 3 classes"):
        open_dataset(voc, phrase="thing")


def test_masks_without_images_and_names_that_mean_two_files_are_faults(voc):
    save_mask(voc / "annotations" / "training" / "cat" / "lost.png", box(0, 0, 5, 5))
    save_picture(voc / "images" / "training" / "2007_2.png", 9)
    with pytest.raises(BadInputError) as caught:
        read_split(voc, "train")
    assert "annotations/training/cat/lost.png: there is no image lost in training/" in str(caught.value)
    assert "2007_2.png: 2007_2.jpg beside it has the same name" in str(caught.value)
