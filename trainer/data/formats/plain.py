"""Plain folders of images and masks of the same names.

    <folder>/images/NAME.*           <folder>/masks/NAME.*
    <folder>/images/train/NAME.*     <folder>/masks/train/NAME.*     (and val, test)
    <folder>/train/images/NAME.*     <folder>/train/masks/NAME.*     (and val, test)

A mask may also be called ``NAME_mask`` or ``NAME_segmentation``. Without split folders a fifth of
the images is drawn for ``val``, whole groups where ``groups.csv`` names any. There are no phrases in
such folders, so one must be given.
"""

from __future__ import annotations

from pathlib import Path

from models_store.errors import BadInputError
from trainer.data.formats.drawn import drawn_for_val
from trainer.data.formats.layout import (
    IMAGE_FOLDERS,
    MASK_FOLDERS,
    SPLIT_FOLDERS,
    Found,
    Layout,
    Pair,
    by_stem,
    first_folder,
    split_folder,
    splits_under,
)
from trainer.data.groups import groups_of
from trainer.data.items import LabelledImage
from trainer.data.truths import MaskFile

MASK_ENDINGS = ("", "_mask", "_segmentation")
WHOLE = "all"


def _folders(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Folders of images and masks by split; ``all`` where there are no splits."""
    found: dict[str, tuple[Path, Path]] = {}
    for split in SPLIT_FOLDERS:
        parent = split_folder(folder, split)
        if parent is not None:
            images, masks = first_folder(parent, IMAGE_FOLDERS), first_folder(parent, MASK_FOLDERS)
            if images is not None and masks is not None:
                found[split] = images, masks
    images, masks = first_folder(folder, IMAGE_FOLDERS), first_folder(folder, MASK_FOLDERS)
    if found or images is None or masks is None:
        return found
    for split in splits_under(images):
        own = split_folder(images, split), split_folder(masks, split)
        if own[0] is not None and own[1] is not None:
            found[split] = own[0], own[1]
    return found or {WHOLE: (images, masks)}


def splits(folder: Path) -> list[str]:
    """The splits of plain folders."""
    found = _folders(folder)
    return ["train", "val"] if WHOLE in found else list(found)


def draws(folder: Path) -> bool:
    """Whether plain folders have no splits of their own."""
    return WHOLE in _folders(folder)


def plain_pairs(folder: Path, split: str, found: Found) -> list[Pair]:
    """Images and masks of a split; one without the other is a fault.

    Raises:
        BadInputError: There are no images.
    """
    folders = _folders(folder)
    images, masks = folders.get(split) or folders[WHOLE]
    faults = Found([], [])
    pairs = _match(images, masks, faults)
    if not pairs and not faults.faults:
        raise BadInputError(f"there are no images in {images}")
    if split in folders:
        found.faults.extend(faults.faults)
        return pairs
    # What is wrong with groups is told when the whole dataset is looked at.
    groups = groups_of(folder, ((pair.image, None) for pair in pairs), [])
    chosen, remark = drawn_for_val([pair.image for pair in pairs], groups)
    if split == "train":
        # Once for both halves.
        found.faults.extend(faults.faults)
        found.remarks.append(remark)
    return [pair for pair in pairs if (pair.image in chosen) == (split == "val")]


def _match(images: Path, masks: Path, found: Found) -> list[Pair]:
    by_name, truths = by_stem(images, found), by_stem(masks, found)
    pairs = []
    for stem, image in by_name.items():
        names = [stem + ending for ending in MASK_ENDINGS if stem + ending in truths]
        if not names:
            found.faults.append(f"{image}: has no mask in {masks.name}/")
        else:
            pairs.append(Pair(image.relative_to(images).as_posix(), image, truths.pop(names[0])))
    found.faults.extend(f"{mask}: has no image in {images.name}/" for mask in truths.values())
    return pairs


def read(folder: Path, split: str, found: Found) -> list[LabelledImage]:
    """One item per pair, without phrases."""
    return [
        LabelledImage(pair.name, pair.image, MaskFile(pair.mask), {})
        for pair in plain_pairs(folder, split, found)
    ]


PLAIN = Layout(
    "plain",
    "images/ and masks/ with files of the same names (and one phrase for all)",
    lambda folder: bool(_folders(folder)),
    splits,
    read,
    draws,
)
