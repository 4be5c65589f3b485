"""A DICOM Segmentation of one image: ``application/dicom``."""

from __future__ import annotations

from collections.abc import Sequence

from models_store.errors import BadInputError
from server.dicom_seg import code_of, seg_bytes
from server.outputs.cases import Case, Wish, Written
from server.schemas import Versions

DICOM = "application/dicom"


def check_labels(phrases: Sequence[str], labels: Sequence[str]) -> None:
    """Raise BadInputError if a mask's label has no code, or labels and phrases do not go together.

    Args:
        phrases: What is asked for.
        labels: What each phrase's mask shows; without any the phrases say so themselves.
    """
    if labels and len(labels) != len(phrases):
        raise BadInputError(f"{len(labels)} labels for {len(phrases)} prompts; give one for each, or none")
    for label in labels or phrases:
        code_of(label)


def dicom_segmentation(cases: Sequence[Case], wish: Wish, versions: Versions) -> Written:
    """Write the masks of one single-frame DICOM image.

    Raises:
        BadInputError: There are several images, or this one is none that DICOM can refer to.
    """
    if len(cases) != 1:
        raise BadInputError(
            f"a DICOM Segmentation is of one image, and the call has {len(cases)}; send one single-frame file"
        )
    (case,) = cases
    masks = [mask for mask, _ in case.masks(wish.threshold, wish.combine)]
    content = seg_bytes(
        case.image,
        masks,
        wish.labels or case.phrases,
        versions,
        phrases=case.phrases,
        threshold=wish.threshold,
    )
    return Written(content, DICOM, ".dcm")
