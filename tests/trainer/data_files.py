"""Small datasets of every layout, written by the tests of data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (48, 40)


def picture(seed: int, size: tuple[int, int] = SIZE) -> Image.Image:
    """A smooth colour image (width, height), different for each seed."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 6, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def box(left: int, top: int, right: int, bottom: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A mask [H, W] that is true in a box."""
    mask = np.zeros((size[1], size[0]), np.bool_)
    mask[top:bottom, left:right] = True
    return mask


def save_mask(path: Path, mask: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask.astype(np.uint8) * 255).save(path)
    return path


def save_picture(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(seed).save(path)
    return path


def write_json(path: Path, content) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def write_camus(folder: Path) -> Path:
    """CAMUS's way: three structures in one image, sub-folders, texts in lists."""
    structures = {"mask_1": "Left ventricular cavity", "mask_2": "Myocardium", "mask_3": "Left atrium cavity"}
    seed = 0
    for split, part in (("train", "train"), ("val", "train"), ("test", "test")):
        entries = []
        for number in range(2):
            seed += 1
            name = f"patient{seed:04d}_2CH.png"
            save_picture(folder / "images" / part / name, seed)
            for at, (sub, what) in enumerate(structures.items()):
                save_mask(
                    folder / "masks" / part / sub / name, box(12 * at + 2, 5, 12 * at + 12, 30 + number)
                )
                texts = [f"{what} of the heart.", f"{what} in the cardiac ultrasound."]
                prompts = {"p0": "", "p1": texts, "p2": f"{what} in two-chamber view"}
                entries.append({"img_name": name, "mask_name": f"{sub}/{name}", "prompts": prompts})
        write_json(folder / "anns" / f"{split}.json", entries)
    return folder


def write_voc(folder: Path) -> Path:
    """Pascal VOC's way: JPEG images, a PNG mask for each class that is there."""
    present = {
        "training": [("2007_1", ["cat", "sofa"]), ("2007_2", ["pottedplant"]), ("2007_3", [])],
        "validation": [("2008_1", ["cat"]), ("2008_2", ["sofa", "pottedplant"])],
    }
    for seed, (split, name, classes) in enumerate(
        (split, name, classes) for split, images in present.items() for name, classes in images
    ):
        save_picture(folder / "images" / split / f"{name}.jpg", 100 + seed)
        for at, class_name in enumerate(classes):
            save_mask(
                folder / "annotations" / split / class_name / f"{name}.png", box(20 * at, 4, 20 * at + 15, 30)
            )
    return folder


def write_indices(folder: Path) -> Path:
    """Class indices with background 0, two classes and 255 where nobody labelled."""
    write_json(folder / "classes.json", {"0": "background", "1": "road", "2": "traffic sign", "255": "void"})
    for seed, split in enumerate(("train", "val")):
        indices = np.zeros((SIZE[1], SIZE[0]), np.uint8)
        indices[20:] = 1
        indices[5:15, 10:20] = 2 if split == "train" else 0
        indices[:3] = 255
        name = f"{split}.png"
        save_picture(folder / "images" / name, 200 + seed)
        (folder / "masks").mkdir(exist_ok=True)
        Image.fromarray(indices).save(folder / "masks" / name)
        write_json(folder / "anns" / f"{split}.json", [{"img_name": name, "mask_name": name}])
    return folder


def write_plain(folder: Path, count: int = 10) -> Path:
    """Images and masks of the same names, without splits."""
    for at in range(count):
        save_picture(folder / "images" / f"case {at}.png", 300 + at)
        save_mask(folder / "masks" / f"case {at}.png", box(at, 5, at + 20, 25))
    return folder
