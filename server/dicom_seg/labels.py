"""Labels as DICOM: images without whose they are, and a Segmentation of each."""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from models_store.errors import BadInputError
from models_store.files import write_file
from server.dicom_seg.codes import LabelCode, code_of
from server.dicom_seg.writing import PRODUCT, Maker, long_string, segment, written
from server.dicom_uids import uid_of
from server.errors import UnmappedLabelError
from server.images import read_images
from trainer.labels.blobs import BlobStore
from trainer.labels.export.writing import WRITERS, Writers
from trainer.labels.rows import Row, file_names, label_of, only_phrase, place, read_mask

IMAGES, SEGMENTATIONS = "images", "segmentations"
# Codes of one's own begin so, PS3.16 8.2; a value has 16 characters at most.
OWN_SCHEME, OWN_LENGTH = "99TUNEVLSEG", 16
CONTENT = "Labels that people accepted"
# What intake groups DICOM images by, and finds in them again.
OF_FILE = re.compile(r"(patient|study)-[0-9a-f]{20}")


def losses(rows: Sequence[Row]) -> list[str]:
    """Images that came otherwise, frames of several, phrases beside a label, groups beside the patient."""
    other = {row["pixels"] for row in rows if row.get("source") is None}
    frames = {row["pixels"] for row in rows if row.get("frame") is not None}
    grouped = [{**row, "group": None} if OF_FILE.fullmatch(row["group"] or "") else row for row in rows]
    return [
        *([f"{len(other)} images that did not come as DICOM"] if other else []),
        *([f"{len(frames)} frames of DICOM files of several"] if frames else []),
        *only_phrase(grouped),
    ]


def write(blobs: BlobStore, rows: Sequence[Row], folder: Path) -> None:
    """``images/<split>/NAME.dcm`` and ``segmentations/<split>/NAME.dcm``, a segment for each label.

    Raises:
        BadInputError: No image came as a DICOM file of one frame, or no Segmentation can refer to one.
    """
    names = file_names(rows)
    of_image: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.get("source") is not None and row.get("frame") is None:
            of_image[row["pixels"]].append(row)
    if not of_image:
        raise BadInputError("no image of it came as a DICOM file of one frame; use another format")
    for pixels, mine in of_image.items():
        name = Path(names[pixels]).with_suffix(".dcm").name
        place(blobs, mine[0]["source"], folder / IMAGES / mine[0]["split"] / name)
        path = folder / SEGMENTATIONS / mine[0]["split"] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, segmentation(blobs, mine))


def segmentation(blobs: BlobStore, rows: Sequence[Row]) -> bytes:
    """The Segmentation of one image's rows; of the same rows always the same instance."""
    content = blobs.read(rows[0]["source"])
    # It was taken under the limits of its time.
    (image,) = read_images(content, max_pixels=sys.maxsize, max_frames=1, max_total_pixels=sys.maxsize)
    labels = [label_of(row) for row in rows]
    segments = []
    for number, label in enumerate(labels, start=1):
        described = segment(number, label, _code(label), None)
        # A label has 64 characters at most and codes have several names: here it is as it was given.
        described.SegmentDescription = label
        segments.append(described)
    told = [rows[0]["source"], *(part for row in rows for part in (row["mask"], label_of(row)))]
    digest = sha256("\0".join(told).encode()).hexdigest()
    series, instance = (
        uid_of(sha256(f"{kind} {digest}".encode()).digest()) for kind in ("series", "instance")
    )
    return written(
        image,
        [read_mask(blobs, row) for row in rows],
        segments,
        maker=Maker(model=PRODUCT, serial=digest),
        description=f"{PRODUCT}: {', '.join(labels)}",
        content=CONTENT,
        uids=(series, instance),
    )


def _code(label: str) -> LabelCode:
    """What SNOMED CT calls it, or a code of this product's where the table has none."""
    try:
        return code_of(label)
    except UnmappedLabelError:
        value = sha256(label.encode()).hexdigest()[:OWN_LENGTH]
        category = codes.cid7150.SpatialAndRelationalConcept
        return LabelCode(category, Code(value, OWN_SCHEME, long_string(label)))


ALL_WRITERS: Writers = {**WRITERS, "dicom": (losses, write)}
"""Every layout that labels are exported in."""
