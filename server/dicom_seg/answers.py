"""A DICOM Segmentation of what the service answered: a segment per phrase."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom.sr.codedict import codes

from server.dicom_seg.codes import code_of
from server.dicom_seg.writing import DISTRIBUTION, PRODUCT, Maker, long_string, segment, written
from server.images import DecodedImage
from server.schemas import NOTICE, Versions


def seg_bytes(
    image: DecodedImage,
    masks: Sequence[NDArray[np.bool_]],
    labels: Sequence[str],
    versions: Versions,
    *,
    phrases: Sequence[str] | None = None,
    threshold: float,
) -> bytes:
    """Write masks as a BINARY DICOM Segmentation in a series of its own, in the image's study.

    Every segment has one frame, an empty one too: what was looked for and not found is an answer.

    Args:
        image: The single-frame DICOM image the masks are of.
        masks: [H, W] each, on the image's own pixels.
        labels: What each mask shows; looked up in ``codes.toml``.
        versions: What the masks were made with.
        phrases: What was asked for, where that is not the label.
        threshold: Where probabilities were cut.

    Returns:
        A DICOM file, explicit little endian.

    Raises:
        UnmappedLabelError: A label has no code.
        BadInputError: No Segmentation can be made of this image.
    """
    found = [code_of(label) for label in labels]
    algorithms = [
        _algorithm(versions, phrase, threshold) for phrase in (labels if phrases is None else phrases)
    ]
    segments = [
        segment(number, label, code, algorithm)
        for number, (label, code, algorithm) in enumerate(zip(labels, found, algorithms, strict=True), 1)
    ]
    return written(
        image,
        masks,
        segments,
        maker=Maker(model=versions.base.name, serial=versions.base.digest),
        description=f"{PRODUCT}: {', '.join(labels)}",
        content=NOTICE,
    )


def _algorithm(versions: Versions, phrase: str, threshold: float) -> hd.AlgorithmIdentificationSequence:
    """Which weights answered which phrase; the phrase comes last, for it may hold any character."""
    used, own = versions.checkpoint, version(DISTRIBUTION)
    checkpoint = "zero-shot" if used is None else f"{versions.dataset}/{used.version}"
    parameters = {"base": versions.base.name, "base_digest": versions.base.digest, "checkpoint": checkpoint}
    if used is not None:
        parameters |= {"checkpoint_strategy": used.strategy, "checkpoint_digest": used.digest}
    parameters |= {"threshold": f"{threshold:g}", "prompt": phrase}
    return hd.AlgorithmIdentificationSequence(
        name=long_string(f"{PRODUCT} {versions.base.name}"),
        family=codes.cid7162.ArtificialIntelligence,
        version=long_string(f"{own} {checkpoint}"),
        source=PRODUCT,
        parameters=parameters,
    )
