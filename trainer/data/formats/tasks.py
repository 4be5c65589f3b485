"""The benchmark's JSON task format.

    <folder>/images/*   <folder>/masks/*   <folder>/anns/{train,val,test}.json

An annotation file is a list of ``{img_name, mask_name, prompts: {p0: "", p1: "...", ...}}``.
An entry of a dataset of several classes may name its ``class``, and any the ``group`` of its image,
such as a patient.
Names may hold sub-folders, and images and masks may lie in ``train`` and ``test`` sub-folders of
which ``val`` shares the first, both as CAMUS has it:

    images/train/patient0001.png   masks/train/mask_1/patient0001.png
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models_store.errors import BadInputError
from trainer.data.formats.layout import SPLIT_FOLDERS, Found, Layout, Pair, first_character, inside, read_json
from trainer.data.groups import group_of_entry
from trainer.data.items import LabelledImage
from trainer.data.truths import MaskFile

SUB_FOLDERS = {"train": ("train",), "val": ("train", "val"), "test": ("test",)}


def annotation_files(folder: Path) -> dict[str, Path]:
    """The annotation files that hold a list, by split; known splits first."""
    found = {path.stem: path for path in (folder / "anns").glob("*.json") if first_character(path) == "["}
    known = [split for split in SPLIT_FOLDERS if split in found]
    return {split: found[split] for split in [*known, *sorted(found.keys() - set(known))]}


def annotated_pairs(folder: Path, split: str, found: Found) -> list[tuple[Pair, dict[str, Any]]]:
    """Images and masks of an annotation file, with the entry each comes from.

    Raises:
        BadInputError: The file is not a list of annotations.
    """
    path = folder / "anns" / f"{split}.json"
    entries = read_json(path)
    if not isinstance(entries, list) or not entries:
        raise BadInputError(f"{path} must hold a non-empty list of annotations")
    pairs = []
    for index, entry in enumerate(entries):
        try:
            pairs.append((_pair(folder, split, entry), entry))
        except BadInputError as error:
            found.faults.append(f"anns/{split}.json, entry {index}: {error}")
    return pairs


def _pair(folder: Path, split: str, entry: Any) -> Pair:
    if not isinstance(entry, dict) or not all(
        isinstance(entry.get(key), str) and entry[key] for key in ("img_name", "mask_name")
    ):
        raise BadInputError("needs img_name and mask_name")
    image = _locate(folder / "images", split, entry["img_name"])
    mask = _locate(folder / "masks", split, entry["mask_name"])
    if image is None or mask is None:
        missing = [] if image else [f"images/{entry['img_name']}"]
        missing += [] if mask else [f"masks/{entry['mask_name']}"]
        raise BadInputError(f"missing {', '.join(missing)}")
    return Pair(entry["img_name"], image, mask, group_of_entry(entry["img_name"], entry))


def _locate(folder: Path, split: str, name: str) -> Path | None:
    if inside(folder, name) is None:
        raise BadInputError(f"{name} points out of {folder.name}/")
    candidates = [folder / name, *(folder / sub / name for sub in SUB_FOLDERS.get(split, (split,)))]
    return next((path for path in candidates if path.is_file()), None)


def _prompts(entry: dict[str, Any]) -> dict[str, str | list[str]]:
    prompts = entry.get("prompts") or {}
    if not isinstance(prompts, dict):
        raise BadInputError("prompts must map p0, p1, ... to texts")
    for key, texts in prompts.items():
        listed = texts if isinstance(texts, list) else [texts]
        if not listed or not all(isinstance(text, str) for text in listed):
            raise BadInputError(f"prompt {key!r} must be a text or a list of texts")
    return prompts


def read(folder: Path, split: str, found: Found) -> list[LabelledImage]:
    """One item per entry."""
    items = []
    for pair, entry in annotated_pairs(folder, split, found):
        label = entry.get("label")
        try:
            prompts = _prompts(entry)
        except BadInputError as error:
            found.faults.append(f"{split}/{pair.name}: {error}")
            continue
        whole = label if isinstance(label, str) else None
        named = entry.get("class")
        class_name = named if isinstance(named, str) and named else None
        truth = MaskFile(pair.mask)
        items.append(LabelledImage(pair.name, pair.image, truth, prompts, whole, class_name, pair.group))
    return items


TASKS = Layout(
    "tasks",
    "images/, masks/ and anns/<split>.json, a list of annotations",
    lambda folder: bool(annotation_files(folder)),
    lambda folder: list(annotation_files(folder)),
    read,
)
