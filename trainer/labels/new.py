"""What is put into the store: images and annotations whose files are kept already."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from models_store.errors import BadInputError
from trainer.data.phrases import Prompts

MOST_PHRASE = 500
MAIN_PROMPT = "p1"


class Split(StrEnum):
    """Where an image is used: to tune and choose, or to judge."""

    TRAIN = "train"
    VAL = "val"


class How(StrEnum):
    """How an annotation came about."""

    UPLOADED = "uploaded"  # made elsewhere
    ACCEPTED = "accepted"  # a mask of a checkpoint, taken as it was
    CORRECTED = "corrected"  # a mask of a checkpoint, edited
    DRAWN = "drawn"  # by hand, from nothing


class State(StrEnum):
    """What became of an annotation; only accepted ones are tuned on."""

    DRAFT = "draft"
    ACCEPTED = "accepted"
    REJECTED = "rejected"


@dataclass(frozen=True, kw_only=True)
class NewAnnotation:
    """One annotator's mask of one thing.

    Attributes:
        mask: Digest of a kept PNG of the image's size, 0 or 255.
        foreground: Its pixels that are not 0.
        prompts: Texts by key; ``p1`` is what it is asked for by.
        annotator: Who made it.
        class_name: The class, where the dataset has several.
        how: How it came about.
        checkpoint: The version, such as ``busi/v0003``, whose mask it started from.
        state: Draft until reviewed, or already reviewed by whoever uploads.
    """

    mask: str
    foreground: int
    prompts: Prompts
    annotator: str
    class_name: str | None = None
    how: How = How.UPLOADED
    checkpoint: str | None = None
    state: State = State.ACCEPTED

    @property
    def phrase(self) -> str:
        """What the mask shows, in words.

        Raises:
            BadInputError: There is no such phrase, or it is empty or too long.
        """
        text = self.prompts.get(MAIN_PROMPT)
        text = text[0] if isinstance(text, list) and text else text
        if not isinstance(text, str) or not text.strip():
            raise BadInputError(f"an annotation needs a phrase: prompts must hold {MAIN_PROMPT!r}")
        if len(text) > MOST_PHRASE:
            raise BadInputError(f"a phrase of {len(text)} characters is too long; {MOST_PHRASE} are accepted")
        return text.strip()

    @property
    def key(self) -> str:
        """A digest that the same annotation always has, so that sending it again changes nothing."""
        parts = [self.mask, dict(sorted(self.prompts.items())), self.annotator, self.class_name]
        return hashlib.sha256(json.dumps([*parts, self.how, self.checkpoint]).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class NewImage:
    """An image and what is marked in it.

    Attributes:
        name: What reports call it.
        picture: Digest of the kept file that is shown and trained on.
        suffix: What its file name ends with, such as ``.png``: its format.
        pixels: Its :func:`trainer.labels.likeness.pixels_digest`.
        fingerprint: Its :func:`trainer.labels.likeness.fingerprint`.
        width, height: Its size in pixels.
        annotations: What is marked in it; none of an image that is to be labelled.
        group: What other images it belongs with: a patient, a study. None asks its likeness.
        split: The split it came with, followed unless its group has one already.
        source: Digest of the kept DICOM file it was rendered from.
        frame: Of which frame, counted from 0.
        flags: What a person should look at, such as ``text may be burnt in``.
    """

    name: str
    picture: str
    suffix: str
    pixels: str
    fingerprint: str
    width: int
    height: int
    annotations: Sequence[NewAnnotation] = ()
    group: str | None = None
    split: Split | None = None
    source: str | None = None
    frame: int | None = None
    flags: tuple[str, ...] = ()


@dataclass
class Added:
    """What putting something into the store did.

    Attributes:
        images: New images.
        known_images: Images that were there already.
        annotations: New annotations.
        known_annotations: Annotations that were there already.
        splits: How many of the new images went into each split.
        image_ids: Of each image put, in order.
        annotation_ids: Of each annotation put, in order.
        remarks: Where something was done otherwise than asked, in words.
    """

    images: int = 0
    known_images: int = 0
    annotations: int = 0
    known_annotations: int = 0
    splits: dict[str, int] = field(default_factory=dict)
    image_ids: list[int] = field(default_factory=list)
    annotation_ids: list[int] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def as_json(prompts: Prompts) -> Mapping[str, str | list[str]]:
    """Prompts as JSON holds them."""
    return {key: text if isinstance(text, str) else list(text) for key, text in prompts.items()}
