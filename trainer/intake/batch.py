"""Images and annotations on their way into the store: checked, but not kept yet."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models_store.errors import BadInputError
from trainer.data.groups import check_group
from trainer.data.phrases import Prompts
from trainer.intake.masks import encode_mask
from trainer.labels.likeness import fingerprint, pixels_digest
from trainer.labels.new import Added, How, NewAnnotation, NewImage, Split, State
from trainer.labels.store import LabelStore, check_who

# What a file of a format is called, by Pillow's name of it.
SUFFIX_OF = {"PNG": ".png", "JPEG": ".jpg", "MPO": ".jpg", "TIFF": ".tif", "BMP": ".bmp", "WEBP": ".webp"}
LONGEST_NAME = 200
NOT_IN_PHRASES = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@dataclass(frozen=True, kw_only=True)
class Told:
    """What whoever uploads says of all annotations of an upload.

    Attributes:
        annotator: Who made them.
        how: How they came about.
        checkpoint: The version whose masks they started from.
        state: Whether they are reviewed already.
    """

    annotator: str
    how: How = How.UPLOADED
    checkpoint: str | None = None
    state: State = State.ACCEPTED


@dataclass
class Batch:
    """What one upload brings.

    Attributes:
        images: Images with their annotations.
        files: What is to be kept, by digest: bytes, or the file that holds them.
        remarks: Where something is taken otherwise than it came, in words.
    """

    images: list[NewImage] = field(default_factory=list)
    files: dict[str, bytes | Path] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def hold(self, content: bytes | Path) -> str:
        """Remember a file, and return its digest."""
        data = content if isinstance(content, bytes) else content.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        self.files.setdefault(digest, content)
        return digest

    def annotation(
        self, mask: NDArray[np.bool_], prompts: Prompts, told: Told, *, class_name: str | None = None
    ) -> NewAnnotation:
        """An annotation whose mask [H, W] is remembered.

        Raises:
            BadInputError: A phrase, a class or a name is not acceptable.
        """
        check_who(told.annotator)
        if class_name is not None:
            check_who(class_name)
        for text in (
            each for texts in prompts.values() for each in ([texts] if isinstance(texts, str) else texts)
        ):
            if NOT_IN_PHRASES.search(text):
                raise BadInputError(f"phrase {text[:80]!r} has control characters")
        if told.checkpoint is not None:
            check_who(told.checkpoint)
        encoded = encode_mask(mask)
        made = NewAnnotation(
            mask=hashlib.sha256(encoded).hexdigest(),
            foreground=int(mask.sum()),
            prompts=prompts,
            annotator=told.annotator,
            class_name=class_name,
            how=told.how,
            checkpoint=told.checkpoint,
            state=told.state,
        )
        # A phrase that is not acceptable raises here, before anything is held.
        _ = made.phrase
        self.hold(encoded)
        return made

    def image(
        self,
        pixels: NDArray[np.uint8],
        content: bytes | Path,
        *,
        name: str,
        suffix: str,
        annotations: Sequence[NewAnnotation] = (),
        group: str | None = None,
        split: Split | None = None,
        source: bytes | Path | None = None,
        frame: int | None = None,
        flags: Sequence[str] = (),
    ) -> NewImage:
        """Add an image.

        Args:
            pixels: Its pixels, RGB [H, W, 3], upright.
            content: The file they are of, kept as it is.
            name: What reports call it; what cannot stand in a name is replaced.
            suffix: That of its format.
            annotations: What is marked in it.
            group: What other images it belongs with.
            split: The split it came with.
            source: The DICOM file it was rendered from.
            frame: Of which frame.
            flags: What a person should look at.

        Raises:
            BadInputError: The group's name is not acceptable.
        """
        check_group(group)
        made = NewImage(
            name=readable_name(name),
            picture=self.hold(content),
            suffix=suffix,
            pixels=pixels_digest(pixels),
            fingerprint=fingerprint(pixels),
            width=pixels.shape[1],
            height=pixels.shape[0],
            annotations=annotations,
            group=group,
            split=split,
            source=None if source is None else self.hold(source),
            frame=frame,
            flags=tuple(flags),
        )
        self.images.append(made)
        return made


def keep(store: LabelStore, dataset: str, batch: Batch, *, by: str) -> Added:
    """Put a batch into the store, which makes the dataset if need be: all of it or nothing.

    Files go first, so that no row ever refers to one that is not there; where rows cannot be
    written then, the files are leftovers like any that nothing refers to, and go with them.

    Raises:
        StoreFullError: The disk is full.
        StoreBusyError: Another process writes.
    """
    keep_files(store, batch)
    added = store.add(dataset, batch.images, by=by, create=True)
    added.remarks = [*batch.remarks, *added.remarks]
    return added


def keep_files(store: LabelStore, batch: Batch) -> None:
    """Put the files of a batch into the store.

    Raises:
        StoreFullError: The disk is full.
    """
    for digest, content in batch.files.items():
        kept = store.blobs.put(content if isinstance(content, bytes) else content.read_bytes())
        if kept != digest:
            raise BadInputError("a file changed while it was being read; send it again")


def readable_name(name: str) -> str:
    """A name that can be recorded; of a long one the end, which tells files apart."""
    return re.sub(r"[\x00-\x1f\x7f]", "?", name)[-LONGEST_NAME:] or "image"
