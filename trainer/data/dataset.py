"""Opening a dataset: read, checked, and refused where it cannot be right."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from models_store.errors import StudioError, UnknownNameError
from trainer.data.checks import ImageFacts, look_at
from trainer.data.examples import check_one_phrase
from trainer.data.faults import UnusableDataError
from trainer.data.folder import choose_layout
from trainer.data.formats.layout import Found
from trainer.data.groups import groups_of, groups_on_several_sides
from trainer.data.items import LabelledImage
from trainer.data.leaks import Asked, emptiness_leak, emptiness_warning, label_warning
from trainer.data.phrases import PhraseRule

NAMES_SHOWN = 5


@dataclass(frozen=True)
class Dataset:
    """A dataset's splits, with what is remarkable about it.

    Attributes:
        folder: Where it is.
        format: The name of its layout.
        splits: The items of each split; one per image, or per image and present class.
        warnings: What a reader of its figures should know, a text each.
    """

    folder: Path
    format: str
    splits: dict[str, tuple[LabelledImage, ...]]
    warnings: tuple[str, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, sorted; none where there is only one and it has no name."""
        return tuple(sorted({item.class_name for item in self._items() if item.class_name is not None}))

    def _items(self) -> Iterator[LabelledImage]:
        return (item for items in self.splits.values() for item in items)

    def items(self, split: str) -> tuple[LabelledImage, ...]:
        """The items of a split.

        Raises:
            UnknownNameError: There is no such split.
        """
        if split not in self.splits:
            raise UnknownNameError(f"{self.folder} has no split {split!r}; it has {', '.join(self.splits)}")
        return self.splits[split]


@dataclass
class Inspection:
    """Everything a look at a dataset gave, whether it can be used or not.

    Attributes:
        dataset: The dataset, so far as it reads.
        facts: Of each distinct image, by split.
        faults: What is wrong, a line each; none of a dataset that can be used.
    """

    dataset: Dataset
    facts: dict[str, list[tuple[list[LabelledImage], ImageFacts]]]
    faults: list[str] = field(default_factory=list)

    def rows(self, rule: PhraseRule) -> list[Asked]:
        """What each row that reads is asked for, under a rule; rows without such phrases are left out."""
        asked = []
        for looked in self.facts.values():
            for items, facts in looked:
                for item, empty in zip(items, facts.empty, strict=True):
                    try:
                        texts = rule.texts(item.name, item.prompts)
                    except StudioError:
                        continue
                    if empty is not None:
                        asked.append(Asked(texts, empty, item.label))
        return asked


def open_dataset(
    folder: Path,
    *,
    format: str | None = None,
    prompt_key: str = "p1",
    phrase: str | None = None,
    stop: bool = False,
    allow_empty: bool = False,
) -> Dataset:
    """Open a dataset folder of any accepted layout, looking at every file.

    Args:
        folder: The folder.
        format: The name of its layout; default the one it looks like.
        prompt_key: The prompt it will be used with: ``p1``, ... or ``random``.
        phrase: One phrase for all images instead.
        stop: Whether phrases are closed with a full stop.
        allow_empty: Whether ``p0``, the empty phrase, may be asked for.

    Raises:
        UnknownNameError: There is no such folder or format.
        BadInputError: The data cannot be right. The message lists what is wrong, file by file;
            the error's ``faults`` has the whole list.
    """
    rule = PhraseRule(prompt_key, phrase, stop, allow_empty)
    inspection = inspect_dataset(folder, format=format, rule=rule)
    if inspection.faults:
        raise UnusableDataError(
            f"{folder} cannot be used, {len(inspection.faults)} faults were found", inspection.faults
        )
    return inspection.dataset


def inspect_dataset(folder: Path, *, format: str | None = None, rule: PhraseRule) -> Inspection:
    """Look at a dataset without refusing it; see :func:`open_dataset`."""
    layout = choose_layout(folder, format)
    found = Found([], [])
    splits: dict[str, tuple[LabelledImage, ...]] = {}
    for split in layout.splits(folder):
        try:
            splits[split] = tuple(layout.read(folder, split, found))
        except StudioError as error:
            found.faults.append(str(error))
    splits = _grouped(folder, splits, found.faults)
    facts = {split: _looked(items) for split, items in splits.items()}
    inspection = Inspection(Dataset(folder, layout.name, splits, ()), facts, found.faults)
    if not any(splits.values()) and not found.faults:
        inspection.faults.append("there are no labelled images")
    for looked in facts.values():
        inspection.faults += [fault for _, image in looked for fault in image.faults]
    inspection.faults += phrase_faults([item for items in splits.values() for item in items], rule)
    shared, remarks = _duplicates(facts)
    inspection.faults += shared
    warnings = [*found.remarks, *remarks, *groups_on_several_sides(splits), *_warnings(inspection, rule)]
    inspection.dataset = Dataset(folder, layout.name, splits, tuple(warnings))
    return inspection


def _grouped(
    folder: Path, splits: Mapping[str, tuple[LabelledImage, ...]], faults: list[str]
) -> dict[str, tuple[LabelledImage, ...]]:
    """The items with the groups of their images, of which one item or a table may tell."""
    said = ((item.image_path, item.group) for items in splits.values() for item in items)
    groups = groups_of(folder, said, faults)
    return {
        split: tuple(replace(item, group=groups.get(item.image_path)) for item in items)
        for split, items in splits.items()
    }


def _looked(items: Sequence[LabelledImage]) -> list[tuple[list[LabelledImage], ImageFacts]]:
    of_image: dict[Path, list[LabelledImage]] = defaultdict(list)
    for item in items:
        of_image[item.image_path].append(item)
    groups = list(of_image.values())
    return list(zip(groups, look_at(groups), strict=True))


def phrase_faults(items: Sequence[LabelledImage], rule: PhraseRule) -> list[str]:
    """What keeps images from being asked for; one line where it is the same for all."""
    try:
        check_one_phrase(items, rule.override)
    except StudioError as error:
        return [str(error)]
    faults = []
    for item in items:
        try:
            rule.texts(item.name, item.prompts)
        except StudioError as error:
            faults.append(str(error))
    if len(faults) < len(items) or not items:
        return faults
    if not any(item.prompts for item in items):
        return ["there are no phrases in this dataset; give one phrase for all"]
    return [f"no image can be asked for: {faults[0]}"]


def _duplicates(
    facts: dict[str, list[tuple[list[LabelledImage], ImageFacts]]],
) -> tuple[list[str], list[str]]:
    """Images of the same pixels: faults across splits, remarks within one; and same names, remarks."""
    places: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    names: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for split, looked in facts.items():
        for _, image in looked:
            if image.digest is not None:
                places[image.digest][split].append(image.path.name)
                names[image.path.name][split].add(image.digest)
    faults = [
        "the same image is in "
        + " and ".join(f"{split} ({', '.join(listed[:NAMES_SHOWN])})" for split, listed in of_split.items())
        for of_split in places.values()
        if len(of_split) > 1
    ]
    remarks = []
    for split in facts:
        copies = sum(len(of_split[split]) - 1 for of_split in places.values() if len(of_split[split]) > 1)
        if copies:
            remarks.append(f"{split}: {copies} of the images are copies of others of the same split")
    alike = [
        name
        for name, of_split in names.items()
        if len(of_split) > 1 and not set.intersection(*of_split.values())
    ]
    if alike:
        listed = ", ".join(sorted(alike)[:NAMES_SHOWN])
        remarks.append(
            f"{len(alike)} names are in several splits, with different images: make sure that they "
            f"are not of the same patients: {listed}"
        )
    return faults, remarks


def _warnings(inspection: Inspection, rule: PhraseRule) -> list[str]:
    warnings = []
    rows = inspection.rows(rule)
    leak = emptiness_leak(rows)
    if leak is not None:
        warnings.append(emptiness_warning(rule.key, leak))
    told = label_warning(rule.key, rows)
    if told is not None:
        warnings.append(told)
    if inspection.dataset.classes:
        warnings.append(
            f"{len(inspection.dataset.classes)} classes, each asked for only in images that have it: figures "
            "say nothing of how often it is seen where it is not"
        )
    return warnings
