"""What ``/segment`` can answer with besides its own JSON; one function per output."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from models_store.errors import BadInputError
from server.outputs.archive import ZIP, archived
from server.outputs.cases import Case, Wish, Written
from server.outputs.contours import CONTOURS, contours
from server.outputs.dicom import DICOM, check_labels, dicom_segmentation
from server.outputs.negotiation import JSON
from server.outputs.nifti import GZIP, nifti
from server.outputs.pictures import (
    PNG,
    deep_probability_picture,
    mask_picture,
    overlay_picture,
    probability_picture,
)
from server.schemas import Combine, Output, Versions

__all__ = ["MEDIA_TYPES", "ZIP", "Case", "Wish", "Written", "check_output", "write_output"]

# One per image: several go into a ZIP file.
PER_IMAGE: dict[Output, Callable[[Case, Wish], Written]] = {
    Output.PNG: mask_picture,
    Output.PROBABILITY: probability_picture,
    Output.PROBABILITY16: deep_probability_picture,
    Output.OVERLAY: overlay_picture,
}
# One of all images.
TOGETHER: dict[Output, Callable[[Sequence[Case], Wish, Versions], Written]] = {
    Output.NIFTI: lambda cases, wish, _: nifti(cases, wish),
    Output.CONTOURS: contours,
    Output.DICOM_SEG: dicom_segmentation,
}
# What a media type in ``Accept`` stands for, the preferred first.
MEDIA_TYPES = {
    JSON: Output.JSON,
    PNG: Output.PNG,
    ZIP: Output.PNG,
    GZIP: Output.NIFTI,
    CONTOURS: Output.CONTOURS,
    DICOM: Output.DICOM_SEG,
}
ONE_PHRASE = (Output.PROBABILITY, Output.PROBABILITY16)
ONE_MASK = (Output.PNG, Output.NIFTI)


def check_output(
    output: Output,
    phrases: Sequence[str],
    combine: Combine = Combine.MASKS,
    labels: Sequence[str] = (),
) -> None:
    """Raise BadInputError if an output cannot be made of what is asked for.

    One that holds one map takes one phrase; a DICOM Segmentation takes labels that have codes.
    """
    if output is Output.DICOM_SEG:
        check_labels(phrases, labels)
    if len(phrases) == 1:
        return
    if output in ONE_PHRASE:
        raise BadInputError(
            f"output {output.value!r} shows one phrase's map, but there are {len(phrases)} prompts; "
            "give one prompt, or take json with probabilities"
        )
    if output in ONE_MASK and combine is Combine.MASKS:
        raise BadInputError(
            f"output {output.value!r} shows one mask, but there are {len(phrases)} prompts; "
            "give one prompt or combine=labels, or take json, contours or overlay"
        )


def write_output(output: Output, cases: Sequence[Case], wish: Wish, versions: Versions) -> Written:
    """The answer in one of the outputs other than JSON.

    Args:
        output: Which.
        cases: One or more, all made with one checkpoint.
        wish: How it is wanted; checked by :func:`check_output`.
        versions: What it was made with.
    """
    together = TOGETHER.get(output)
    if together is not None:
        return together(cases, wish, versions)
    picture = PER_IMAGE[output]
    if len(cases) == 1:
        return picture(cases[0], wish)
    return archived((case, picture(case, wish)) for case in cases)
