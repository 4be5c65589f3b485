"""One DICOM image, with or without a mask."""

from __future__ import annotations

from pathlib import Path

from models_store.errors import BadInputError
from server.images.decoded import DecodedImage
from server.images.dicom import looks_like_dicom
from server.inputs import ImageLimits
from server.intake.dicom import DicomSent, rendition, take_dicom
from server.intake.pseudonyms import Pseudonyms
from server.intake.seg import Segment, SegmentationFile
from server.intake.single import MarkSent, prompts_of, read_mark
from trainer.intake.batch import Batch, Told
from trainer.labels.new import NewAnnotation, Split


def take_dicom_image(
    content: bytes,
    mark: MarkSent | None,
    told: Told,
    *,
    pseudonyms: Pseudonyms,
    limits: ImageLimits,
    group: str | None = None,
    split: Split | None = None,
) -> Batch:
    """A DICOM image of one or more frames, each an image of its own, ready to be kept.

    What it is called and grouped by are pseudonyms: a file's name may be a patient's.

    Args:
        content: The image's file.
        mark: The mask, if there is one: a DICOM Segmentation, or a mask of a single-frame image.
        told: What is said of it.
        pseudonyms: Give UIDs, names and groups.
        limits: What is taken.
        group: What other images it belongs with; None groups it by its patient.
        split: Where it is to be used, unless its group is elsewhere already.

    Raises:
        UnreadableImageError, ImageTooLargeError: The image is not taken.
        BadInputError: The mask, a phrase or a name is not.
    """
    sent = take_dicom(content, pseudonyms, limits)
    batch = Batch()
    segmentation = None
    if mark is not None and mark.file is not None and looks_like_dicom(mark.file):
        segmentation = SegmentationFile(mark.file, limits.max_pixels)
    elif mark is not None and len(sent.frames) > 1:
        raise BadInputError(
            f"the DICOM image has {len(sent.frames)} frames, and a mask is of one; send a DICOM Segmentation"
        )
    for frame in sent.frames:
        annotations: list[NewAnnotation] = []
        if segmentation is not None and mark is not None:
            annotations = _of_segments(batch, sent, frame, segmentation, mark, told)
        elif mark is not None:
            annotations = [read_mark(batch, mark, (frame.width, frame.height), told)]
        add_frame(batch, sent, frame, annotations, pseudonyms, group=group, split=split)
    return batch


def add_frame(
    batch: Batch,
    sent: DicomSent,
    frame: DecodedImage,
    annotations: list[NewAnnotation],
    pseudonyms: Pseudonyms,
    *,
    group: str | None = None,
    split: Split | None = None,
    scratch: Path | None = None,
) -> None:
    """Add a frame of a DICOM image to a batch.

    Args:
        batch: Gets it.
        sent: The image.
        frame: One of its frames.
        annotations: What is marked in it.
        pseudonyms: Give its name.
        group: What other images it belongs with; None groups it by its patient.
        split: Where it is to be used.
        scratch: Folder that files wait in, where there are many.
    """
    name = pseudonyms.name("image", sent.uid or frame.digest)
    number = sent.frame_of(frame)
    batch.image(
        frame.pixels,
        _waiting(rendition(frame), scratch),
        name=f"{name}.png" if number is None else f"{name}-{number}.png",
        suffix=".png",
        annotations=annotations,
        group=group or sent.group,
        split=split,
        source=_waiting(sent.source, scratch),
        frame=number,
        flags=sent.flags,
    )


def annotations_of(batch: Batch, segments: list[Segment], told: Told) -> list[NewAnnotation]:
    """The annotations of segments, each of a class of its own."""
    return [
        batch.annotation(
            segment.mask, prompts_of(segment.phrase, None), told, class_name=segment.phrase.strip()
        )
        for segment in segments
    ]


def _of_segments(
    batch: Batch,
    sent: DicomSent,
    frame: DecodedImage,
    segmentation: SegmentationFile,
    mark: MarkSent,
    told: Told,
) -> list[NewAnnotation]:
    size = frame.width, frame.height
    # Of one frame, what was looked for and not found is an answer, too.
    segments = segmentation.segments([sent.uid], size, sent.frame_of(frame), empty=len(sent.frames) == 1)
    if mark.phrase is None and mark.class_name is None:
        return annotations_of(batch, segments, told)
    if segmentation.count != 1:
        raise BadInputError(
            f"one phrase cannot name {segmentation.count} segments; leave phrase and class_name out"
        )
    prompts = prompts_of(mark.phrase, mark.class_name)
    return [batch.annotation(each.mask, prompts, told, class_name=mark.class_name) for each in segments]


def _waiting(content: bytes, scratch: Path | None) -> bytes | Path:
    """The content, or a file of it."""
    if scratch is None:
        return content
    scratch.mkdir(exist_ok=True)
    path = scratch / str(len(list(scratch.iterdir())))
    path.write_bytes(content)
    return path
