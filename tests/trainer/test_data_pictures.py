import numpy as np
import pytest
from data_files import SIZE, box, picture, save_mask, write_json
from PIL import Image

from models_store.errors import BadInputError
from server.images import read_image as served
from trainer.data.dataset import open_dataset
from trainer.data.pictures import picture_size, pictures_in, read_image

WIDTH, HEIGHT = SIZE


@pytest.mark.parametrize("kind", ["turned", "transparent", "deep", "palette", "grey"])
def test_images_are_read_as_the_server_reads_them(tmp_path, kind):
    image, options = picture(3), {}
    if kind == "turned":
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = 6
    elif kind == "transparent":
        image.putalpha(Image.fromarray((box(5, 5, 20, 20) * 255).astype(np.uint8)))
    elif kind == "deep":
        image = Image.fromarray(np.arange(WIDTH * HEIGHT, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 9)
    else:
        image = image.convert("P" if kind == "palette" else "L")
    path = tmp_path / "image.png"
    image.save(path, **options)
    found = read_image(path)
    assert np.array_equal(found, served(path.read_bytes(), max_pixels=10_000).pixels)
    assert found.shape == ((WIDTH, HEIGHT, 3) if kind == "turned" else (HEIGHT, WIDTH, 3))
    assert found.std() > 0


def test_a_turned_image_needs_a_turned_mask(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 8
    (tmp_path / "images").mkdir()
    picture(3).save(tmp_path / "images" / "a.jpg", exif=exif)
    save_mask(tmp_path / "masks" / "a.png", box(5, 5, 20, 20))
    entry = {"img_name": "a.jpg", "mask_name": "a.png", "prompts": {"p1": "box"}}
    write_json(tmp_path / "anns" / "train.json", [entry])
    with pytest.raises(BadInputError, match=r"mask is 48x40; is it turned by its EXIF orientation\?"):
        open_dataset(tmp_path)
    save_mask(tmp_path / "masks" / "a.png", box(5, 5, 20, 20, size=(HEIGHT, WIDTH)))
    assert len(open_dataset(tmp_path).items("train")) == 1


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp", ".webp"])
def test_files_cut_short_are_refused_by_name(tmp_path, suffix):
    path = tmp_path / f"cut{suffix}"
    picture(4).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(BadInputError, match=rf"cut\{suffix} cannot be read as an image"):
        read_image(path)


def test_the_header_tells_the_size_and_folders_their_pictures(tmp_path):
    for name in ("b.JPG", "sub/a.png", ".hidden.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        picture(1).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("x")
    assert picture_size(tmp_path / "b.JPG") == SIZE
    assert [path.name for path in pictures_in(tmp_path)] == ["b.JPG", "a.png"]
    with pytest.raises(BadInputError, match="cannot be read"):
        picture_size(tmp_path / "notes.txt")
