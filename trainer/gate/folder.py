"""A split of a dataset folder as the gate compares on it: rows, and what is independent among them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from models_store.vlsm import FrozenVLSM
from trainer.data.dataset import open_dataset
from trainer.data.examples import Examples, load_examples
from trainer.data.items import LabelledImage
from trainer.gate.measure import units_of
from trainer.tuning.data import limited
from trainer.tuning.settings import TuneSettings

TRAIN = "train"


@dataclass(frozen=True)
class SplitRows:
    """Rows of a split.

    Attributes:
        examples: The rows.
        units: The independent unit of each: its group where the folder names groups, else its image.
        grouped: Whether the folder names groups, such as patients.
    """

    examples: Examples
    units: tuple[str, ...]
    grouped: bool


def read_rows(folder: Path, split: str, settings: TuneSettings, vlsm: FrozenVLSM) -> SplitRows | None:
    """The rows of a split as the settings ask for them; None where there are none.

    Raises:
        UnknownNameError: There is no such folder or split.
        BadInputError: The data cannot be used, or says of an image's group what cannot be.
    """
    key, phrase, stop = settings.prompt_key, settings.phrase, settings.stop
    dataset = open_dataset(folder, format=settings.format, prompt_key=key, phrase=phrase, stop=stop)
    items: list[LabelledImage] = list(dataset.items(split))
    if split == TRAIN and settings.limit is not None:
        items = limited(items, settings.limit, settings.seed)
    if not items:
        return None
    examples = load_examples(items, vlsm.spec, prompt_key=key, phrase=phrase, stop=stop)
    alone = units_of(examples, None)
    if all(item.group is None for items in dataset.splits.values() for item in items):
        return SplitRows(examples, alone, False)
    named = [
        alone[row] if item.group is None else f"group {item.group}" for row, item in enumerate(examples.items)
    ]
    return SplitRows(examples, units_of(examples, named), True)
