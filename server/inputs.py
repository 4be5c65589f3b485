"""Checks of what a caller asks for, shared by the REST API and the command line."""

from __future__ import annotations

import re
from dataclasses import dataclass

from models_store.errors import BadInputError
from server.errors import PromptError


@dataclass(frozen=True)
class ImageLimits:
    """What one call may send.

    Attributes:
        max_pixels: Largest width times height of one image.
        max_images: Most images, frames counted one by one.
        max_total_pixels: Most pixels in all of them, kept in memory at three bytes each.
    """

    max_pixels: int
    max_images: int
    max_total_pixels: int


def check_phrases(phrases: list[str], *, max_phrases: int, max_length: int) -> list[str]:
    """The phrases without surrounding space.

    Raises:
        PromptError: One is empty or too long, or there are too many.
    """
    if not 1 <= len(phrases) <= max_phrases:
        raise PromptError(f"{len(phrases)} prompts; 1 to {max_phrases} are accepted")
    stripped = [phrase.strip() for phrase in phrases]
    for number, phrase in enumerate(stripped, start=1):
        if not phrase:
            raise PromptError(f"prompt {number} is empty; 1 to {max_length} characters are accepted")
        if len(phrase) > max_length:
            raise PromptError(
                f"prompt {number} has {len(phrase):,} characters; 1 to {max_length} are accepted"
            )
    return stripped


def check_masks(images: int, phrases: int, max_masks: int) -> None:
    """Raise BadInputError if images times phrases are more masks than one call may make."""
    if images * phrases > max_masks:
        raise BadInputError(
            f"{images} images times {phrases} prompts are {images * phrases:,} masks; "
            f"at most {max_masks:,} are accepted per call"
        )


def dataset_of(reference: str) -> str:
    """The dataset that ``dataset``, ``dataset@alias`` or ``dataset/version`` begins with."""
    return re.split("[/@]", reference, maxsplit=1)[0]


def choose_reference(dataset: str | None, checkpoint: str | None) -> str | None:
    """The one reference that a dataset and a checkpoint name together; None means zero-shot.

    Empty text counts as not given: that is how forms send what was left blank.

    Raises:
        BadInputError: The checkpoint is another dataset's.
    """
    if not checkpoint:
        return dataset or None
    owner = dataset_of(checkpoint)
    if dataset and owner != dataset:
        raise BadInputError(
            f"checkpoint {checkpoint!r} is of dataset {owner!r}, but dataset {dataset!r} was asked for; "
            "give one of the two, or a checkpoint of that dataset"
        )
    return checkpoint
