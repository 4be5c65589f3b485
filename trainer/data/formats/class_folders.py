"""One folder of masks per class, as the benchmark stores Pascal VOC and Cityscapes.

    <folder>/images/{training,validation,testing}/NAME.jpg
    <folder>/annotations/{training,validation,testing}/CLASS NAME/NAME.png

``masks`` serves for ``annotations``, and ``train``, ``val`` and ``test`` for the long names. A
mask is 0 and 255; there is one for each class that is in the image and none for the others, so
there is one item per image and present class. The folder's name is the phrase, under ``p1``. As
in all layouts nothing is varied at random for evaluation (the benchmark did so for this one).
"""

from __future__ import annotations

from pathlib import Path

from models_store.errors import BadInputError
from trainer.data.formats.layout import (
    IMAGE_FOLDERS,
    MASK_FOLDERS,
    Found,
    Layout,
    by_stem,
    first_folder,
    split_folder,
    splits_under,
)
from trainer.data.items import LabelledImage
from trainer.data.pictures import pictures_in
from trainer.data.truths import MaskFile


def _parents(folder: Path) -> tuple[Path, Path] | None:
    images, masks = first_folder(folder, IMAGE_FOLDERS), first_folder(folder, MASK_FOLDERS)
    return None if images is None or masks is None else (images, masks)


def splits(folder: Path) -> list[str]:
    """Splits whose masks lie in class folders."""
    parents = _parents(folder)
    if parents is None:
        return []
    return [
        split
        for split in splits_under(parents[1])
        if (masks := split_folder(parents[1], split)) and any(path.is_dir() for path in masks.iterdir())
    ]


def read(folder: Path, split: str, found: Found) -> list[LabelledImage]:
    """One item per mask."""
    parents = _parents(folder)
    images = split_folder(parents[0], split) if parents else None
    masks = split_folder(parents[1], split) if parents else None
    if images is None or masks is None:
        raise BadInputError(f"{folder} has class folders for {split} but no images/{split}")
    by_name = by_stem(images, found)
    items, used = [], set()
    for class_folder in sorted(path for path in masks.iterdir() if path.is_dir()):
        for mask in pictures_in(class_folder):
            stem = mask.relative_to(class_folder).with_suffix("").as_posix()
            image = by_name.get(stem)
            if image is None:
                found.faults.append(f"{mask.relative_to(folder)}: there is no image {stem} in {images.name}/")
                continue
            used.add(stem)
            name = f"{class_folder.name}/{image.relative_to(images).as_posix()}"
            prompts: dict[str, str | list[str]] = {"p0": "", "p1": class_folder.name}
            items.append(LabelledImage(name, image, MaskFile(mask), prompts, class_name=class_folder.name))
    unused = len(by_name.keys() - used)
    if unused:
        found.remarks.append(f"{split}: {unused} images have no mask of any class and are not used")
    # Rows of one image side by side.
    return sorted(items, key=lambda item: item.image_path)


CLASS_FOLDERS = Layout(
    "class-folders",
    "images/<split>/ and annotations/<split>/<class name>/ with masks",
    lambda folder: bool(splits(folder)),
    splits,
    read,
)
