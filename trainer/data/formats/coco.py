"""COCO's object annotations: polygons and run lengths.

    <folder>/annotations/instances_train2017.json   <folder>/train2017/* (or images/train2017/*)
    <folder>/train/_annotations.coco.json           <folder>/train/*

Annotation files may also lie in ``anns`` or in the folder itself. The split is in the file's
name, or in its folder's; of a single file without one, a fifth of the images is drawn for ``val``,
whole groups where images name their ``group``.
There is one item per image and category that is in it, with the category's name as the phrase,
under ``p1``. Crowds (``iscrowd``) are left out of loss and figures.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from models_store.errors import BadInputError
from trainer.data.formats.drawn import drawn_for_val
from trainer.data.formats.layout import (
    SPLIT_FOLDERS,
    Found,
    Layout,
    first_character,
    inside,
    read_json,
)
from trainer.data.groups import group_of_entry, groups_of
from trainer.data.items import LabelledImage
from trainer.data.truths import Shapes

NESTED = "_annotations.coco.json"
PARTS = ("images", "annotations", "categories")
WHOLE = "all"


def _split_of(path: Path) -> str:
    words = path.parent.name if path.name == NESTED else path.stem
    return next((split for split in SPLIT_FOLDERS if split in words.lower()), WHOLE)


def annotation_files(folder: Path) -> dict[str, Path]:
    """COCO files by split; ``all`` for one that names none.

    Raises:
        BadInputError: Two files are of one split.
    """
    found = [path for sub in ("annotations", "anns", ".") for path in sorted((folder / sub).glob("*.json"))]
    found += sorted(folder.glob(f"*/{NESTED}"))
    # COCO's other files, of captions and key points, lie beside those of objects.
    found = [path for path in found if path.name.startswith("instances")] or found
    files: dict[str, Path] = {}
    for path in found:
        if first_character(path) != "{" or not _has_parts(path):
            continue
        split = _split_of(path)
        if split in files:
            raise BadInputError(f"{files[split]} and {path} are both annotations of split {split!r}")
        files[split] = path
    return files


def _has_parts(path: Path) -> bool:
    """Whether the file has COCO's lists; large files are taken to."""
    if path.stat().st_size > 1 << 22:
        return True
    content = read_json(path)
    return isinstance(content, dict) and all(isinstance(content.get(part), list) for part in PARTS)


def splits(folder: Path) -> list[str]:
    """The splits of a COCO folder."""
    files = annotation_files(folder)
    return ["train", "val"] if set(files) == {WHOLE} else [s for s in SPLIT_FOLDERS if s in files]


def draws(folder: Path) -> bool:
    """Whether the one COCO file of a folder is of no split."""
    return set(annotation_files(folder)) == {WHOLE}


def _image_folders(folder: Path, path: Path, split: str) -> list[Path]:
    """Where images may lie, likeliest first."""
    names = [path.stem.removeprefix("instances_"), *SPLIT_FOLDERS.get(split, ())]
    nested = [folder / parent / name for name in names for parent in ("images", ".")]
    candidates = [path.parent, *nested, folder / "images", folder]
    return [candidate for candidate in candidates if candidate.is_dir()]


def _locate(folders: list[Path], name: str) -> Path | None:
    candidates = (folder / name for folder in folders if inside(folder, name) is not None)
    return next((path for path in candidates if path.is_file()), None)


def read(folder: Path, split: str, found: Found) -> list[LabelledImage]:
    """One item per image and category that is in it.

    Raises:
        BadInputError: The file is not COCO's.
    """
    files = annotation_files(folder)
    path = files.get(split) or files[WHOLE]
    # Of a file split by drawing, faults are told once.
    report = found if split in files or split == "train" else Found([], [])
    items = _items(folder, path, split, report)
    if split in files:
        return items
    images = sorted({item.image_path for item in items})
    # What is wrong with groups is told when the whole dataset is looked at.
    groups = groups_of(folder, ((item.image_path, item.group) for item in items), [])
    chosen, remark = drawn_for_val(images, groups)
    report.remarks.append(remark)
    return [item for item in items if (item.image_path in chosen) == (split == "val")]


def _items(folder: Path, path: Path, split: str, found: Found) -> list[LabelledImage]:
    content = read_json(path)
    if not isinstance(content, dict) or not all(isinstance(content.get(part), list) for part in PARTS):
        raise BadInputError(f"{path} must be an object with the lists {', '.join(PARTS)}")
    try:
        names = {entry["id"]: str(entry["name"]).strip() for entry in content["categories"]}
        entries = {entry["id"]: entry for entry in content["images"]}
        images = {image_id: _image(entry) for image_id, entry in entries.items()}
    except (KeyError, TypeError, ValueError) as error:
        raise BadInputError(
            f"{path}: an image needs id, file_name, width and height, a category id and name: {error!r}"
        ) from error
    segments, crowds = _segments(path, content["annotations"], names, images, found)
    folders = _image_folders(folder, path, split)
    items = []
    for image_id, (name, width, height) in images.items():
        mine = [category for category in names if (image_id, category) in segments]
        image = _locate(folders, name) if mine else None
        if mine and image is None:
            found.faults.append(f"{path.name}: image {name} is missing")
        if image is None:
            continue
        try:
            group = group_of_entry(name, entries[image_id])
        except BadInputError as error:
            found.faults.append(f"{path}: {error}")
            continue
        for category in mine:
            key = image_id, category
            shapes = Shapes(path, width, height, tuple(segments[key]), tuple(crowds.get(key, ())))
            prompts: dict[str, str | list[str]] = {"p0": "", "p1": names[category]}
            items.append(
                LabelledImage(
                    f"{names[category]}/{name}",
                    image,
                    shapes,
                    prompts,
                    class_name=names[category],
                    group=group,
                )
            )
    without = len(images) - len({image_id for image_id, _ in segments})
    if without:
        found.remarks.append(f"{path.name}: {without} images have no objects and are not used")
    return items


def _image(entry: dict[str, Any]) -> tuple[str, int, int]:
    return str(entry["file_name"]), int(entry["width"]), int(entry["height"])


Shown = dict[tuple[Any, Any], list[Any]]


def _segments(
    path: Path, annotations: list[Any], names: dict, images: dict, found: Found
) -> tuple[Shown, Shown]:
    """Segmentations of objects and of crowds, by image and category."""
    objects: Shown = defaultdict(list)
    crowds: Shown = defaultdict(list)
    for index, entry in enumerate(annotations):
        where = f"{path.name}, annotation {index}"
        if not isinstance(entry, dict) or entry.get("image_id") not in images:
            found.faults.append(f"{where}: image_id is not among the images")
        elif entry.get("category_id") not in names:
            found.faults.append(f"{where}: category_id is not among the categories")
        elif not entry.get("segmentation"):
            found.faults.append(f"{where}: has no segmentation")
        else:
            into = crowds if entry.get("iscrowd") else objects
            into[entry["image_id"], entry["category_id"]].append(entry["segmentation"])
    return objects, crowds


COCO = Layout(
    "coco",
    "annotations/instances_<split>.json in COCO's form",
    lambda folder: bool(annotation_files(folder)),
    splits,
    read,
    draws,
)
