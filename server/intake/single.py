"""One image that is not DICOM, with or without a mask."""

from __future__ import annotations

from dataclasses import dataclass

from models_store.errors import BadInputError
from server.images import read_image
from server.images.dicom import looks_like_dicom
from trainer.data.phrases import Prompts
from trainer.intake.batch import SUFFIX_OF, Batch, Told
from trainer.intake.masks import mask_of_file, mask_of_runs
from trainer.labels.new import NewAnnotation, Split


@dataclass(frozen=True, kw_only=True)
class MarkSent:
    """A mask as it was sent.

    Attributes:
        file: A file of 0 and 255; or
        runs: COCO's run-length counts.
        phrase: What it is asked for by.
        class_name: The class, where the dataset has several; the phrase where there is no other.
    """

    file: bytes | None
    runs: str | None
    phrase: str | None
    class_name: str | None


def prompts_of(phrase: str | None, class_name: str | None) -> Prompts:
    """The prompts of a mask that has one phrase.

    Raises:
        BadInputError: There is none.
    """
    text = phrase or class_name
    if not text:
        raise BadInputError("a mask needs a phrase, or a class_name to serve for one")
    return {"p0": "", "p1": text.strip()}


def read_mark(batch: Batch, sent: MarkSent, size: tuple[int, int], told: Told) -> NewAnnotation:
    """The annotation of a mask that was sent.

    Args:
        batch: Remembers its file.
        sent: The mask.
        size: Width and height of its image.
        told: What is said of it.

    Raises:
        BadInputError: It does not read or fit, or has no acceptable phrase; or there is none, or two.
    """
    if (sent.file is None) == (sent.runs is None):
        raise BadInputError("send one of the fields mask (a file) and rle (COCO's run-length counts)")
    prompts = prompts_of(sent.phrase, sent.class_name)
    mask = mask_of_file(sent.file, size) if sent.file is not None else mask_of_runs(sent.runs or "", size)
    return batch.annotation(mask, prompts, told, class_name=sent.class_name or None)


def take_image(
    content: bytes,
    name: str,
    mark: MarkSent | None,
    told: Told,
    *,
    max_pixels: int,
    group: str | None = None,
    split: Split | None = None,
) -> Batch:
    """One image and at most one mask, ready to be kept.

    Args:
        content: The image's file, told by its content.
        name: What it is called.
        mark: The mask, if there is one.
        told: What is said of it.
        max_pixels: Largest width times height.
        group: What other images it belongs with.
        split: Where it is to be used, unless its group is elsewhere already.

    Raises:
        UnreadableImageError, ImageTooLargeError: The image is not taken.
        BadInputError: The mask, a phrase or a name is not.
    """
    if mark is not None and mark.file is not None and looks_like_dicom(mark.file):
        raise BadInputError("a DICOM Segmentation goes with the DICOM image that it refers to")
    image = read_image(content, max_pixels=max_pixels)
    batch = Batch()
    size = image.width, image.height
    marks = [] if mark is None else [read_mark(batch, mark, size, told)]
    batch.image(
        image.pixels,
        content,
        name=name,
        suffix=SUFFIX_OF[image.format],
        annotations=marks,
        group=group or None,
        split=split,
    )
    return batch
