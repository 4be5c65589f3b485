import numpy as np
import pytest
from data_files import SIZE, box, save_picture, write_json

from models_store import rle
from models_store.errors import BadInputError
from trainer.data.dataset import open_dataset
from trainer.data.examples import load_examples
from trainer.data.folder import read_split
from trainer.data.shapes import draw_shapes

WIDTH, HEIGHT = SIZE
CATEGORIES = [{"id": 3, "name": "dog"}, {"id": 8, "name": "ball"}]


def polygon(left, top, right, bottom):
    return [[left, top, right, top, right, bottom, left, bottom]]


def plain_runs(mask):
    """COCO's uncompressed run lengths, counted one pixel after another."""
    counts, value, run = [], False, 0
    for pixel in mask.ravel(order="F"):
        if pixel != value:
            counts.append(run)
            value, run = pixel, 0
        run += 1
    return {"size": list(mask.shape), "counts": [*counts, run]}


def annotation(image, category, segmentation, crowd=0):
    return {"image_id": image, "category_id": category, "segmentation": segmentation, "iscrowd": crowd}


def write_coco(folder, annotations, *, split="train2017", images=2, start=1):
    entries = []
    for number in range(start, start + images):
        save_picture(folder / split / f"{number:012d}.jpg", number)
        entries.append({"id": number, "file_name": f"{number:012d}.jpg", "width": WIDTH, "height": HEIGHT})
    content = {"images": entries, "annotations": annotations, "categories": CATEGORIES}
    write_json(folder / "annotations" / f"instances_{split}.json", content)
    return folder


@pytest.fixture
def coco(tmp_path):
    ball = box(30, 10, 40, 20)
    train = [
        annotation(1, 3, polygon(2, 3, 12, 23)),
        annotation(1, 3, polygon(20, 3, 25, 8)),
        annotation(1, 8, plain_runs(ball)),
        annotation(2, 8, {"size": [HEIGHT, WIDTH], "counts": rle.encode(ball)}),
        annotation(2, 8, plain_runs(box(28, 10, 34, 35)), crowd=1),
    ]
    folder = write_coco(tmp_path / "coco", train)
    return write_coco(folder, [annotation(9, 3, polygon(5, 5, 15, 15))], split="val2017", images=2, start=9)


class TestReading:
    def test_there_is_one_item_per_image_and_category(self, coco):
        dataset = open_dataset(coco)
        assert dataset.format == "coco"
        assert dataset.classes == ("ball", "dog")
        names = [item.name for item in dataset.items("train")]
        assert names == ["dog/000000000001.jpg", "ball/000000000001.jpg", "ball/000000000002.jpg"]
        assert "instances_val2017.json: 1 images have no objects and are not used" in dataset.warnings

    def test_polygons_and_both_kinds_of_run_lengths_are_masks(self, coco):
        dog, ball, packed = read_split(coco, "train")
        assert np.array_equal(dog.mask(), box(2, 3, 12, 23) | box(20, 3, 25, 8))
        assert np.array_equal(ball.mask(), box(30, 10, 40, 20))
        assert np.array_equal(packed.mask(), box(30, 10, 40, 20))

    def test_crowds_are_left_out(self, coco, tiny):
        examples = load_examples(read_split(coco, "train"), tiny.spec)
        crowd = box(28, 10, 34, 35) & ~box(30, 10, 40, 20)
        assert np.array_equal(examples.ignored[2].unpack(), crowd)
        assert examples.ignored[0] is None
        assert examples.ignore[2:3].any()
        assert not examples.ignore[:2].any()

    def test_captions_beside_it_are_no_matter(self, coco):
        write_json(coco / "annotations" / "captions_train2017.json", {"images": [], "annotations": []})
        assert len(read_split(coco, "train")) == 3

    def test_each_split_in_its_folder(self, coco, tmp_path):
        folder = tmp_path / "export"
        folder.mkdir()
        for split, name in (("train", "train2017"), ("valid", "val2017")):
            (coco / name).rename(folder / split)
            source = coco / "annotations" / f"instances_{name}.json"
            source.rename(folder / split / "_annotations.coco.json")
        assert len(open_dataset(folder).items("val")) == 1

    def test_a_single_file_is_split_by_drawing_and_says_so(self, tmp_path):
        boxes = [annotation(number, 3, polygon(5, 5, 15, 15)) for number in range(1, 11)]
        folder = write_coco(tmp_path / "one", boxes, split="default", images=10)
        dataset = open_dataset(folder)
        assert (len(dataset.items("train")), len(dataset.items("val"))) == (8, 2)
        assert any("2 images were drawn for val with seed 12345" in text for text in dataset.warnings)


class TestFaults:
    @pytest.mark.parametrize(
        ("entry", "fault"),
        [
            (annotation(77, 3, polygon(1, 1, 9, 9)), "annotation 0: image_id is not among the images"),
            (annotation(1, 77, polygon(1, 1, 9, 9)), "annotation 0: category_id is not among"),
            (annotation(1, 3, []), "annotation 0: has no segmentation"),
            (annotation(1, 3, [[1, 2, 3, 4]]), "a polygon must be a list of at least 6 numbers"),
            (annotation(1, 3, {"size": [9, 9], "counts": [81]}), "run lengths of size [9, 9] do not fit"),
            (
                annotation(1, 3, {"size": [HEIGHT, WIDTH], "counts": [5, 5]}),
                f"do not fill {HEIGHT} x {WIDTH} pixels",
            ),
        ],
    )
    def test_what_is_no_shape_is_named(self, tmp_path, entry, fault):
        with pytest.raises(BadInputError) as caught:
            open_dataset(write_coco(tmp_path / "coco", [entry]))
        assert fault in str(caught.value)

    def test_an_image_of_another_size_or_none_is_named(self, coco):
        (coco / "train2017" / "000000000001.jpg").unlink()
        save_picture(coco / "train2017" / "000000000002.jpg", 5)
        content_path = coco / "annotations" / "instances_val2017.json"
        content_path.write_text(content_path.read_text().replace(f'"width": {WIDTH}', '"width": 99'))
        with pytest.raises(BadInputError) as caught:
            open_dataset(coco)
        assert "image 000000000001.jpg is missing" in str(caught.value)
        assert f"image is {WIDTH}x{HEIGHT}, but its mask is 99x{HEIGHT}" in str(caught.value)

    def test_two_files_of_one_split_are_refused(self, coco):
        source = coco / "annotations" / "instances_val2017.json"
        (coco / "annotations" / "instances_val2014.json").write_text(source.read_text())
        with pytest.raises(BadInputError, match="both annotations of split 'val'"):
            open_dataset(coco)


def test_a_slanted_polygon_covers_its_area():
    triangle = draw_shapes([[[0, 0, 40, 0, 0, 40]]], 40, 40)
    rows, columns = np.mgrid[:40, :40]
    # A pixel belongs where its centre does.
    expected = (rows + 0.5) + (columns + 0.5) <= 40
    assert (triangle != expected).sum() <= 40
    assert abs(triangle.sum() - 800) <= 40
