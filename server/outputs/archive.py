"""One file per image, together in a ZIP file."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from server.outputs.cases import Case, Written

ZIP = "application/zip"
# Times of files say nothing here, and the same answer is the same bytes.
EARLIEST = (1980, 1, 1, 0, 0, 0)


def file_name(number: int, case: Case, suffix: str) -> str:
    """Name of a file in the archive, from places in the request alone: file names may name patients.

    Args:
        number: Which of the answer's images it is, from 0.
        case: The image.
        suffix: Such as ``.png``.
    """
    frame = f"-frame{case.image.frame:03d}" if case.image.frames > 1 else ""
    return f"{number:03d}-image{case.source:03d}{frame}{suffix}"


def archived(files: Iterable[tuple[Case, Written]]) -> Written:
    """A ZIP file of one file per image, in their order; pictures are compressed already, so it stores."""
    out = BytesIO()
    with ZipFile(out, "w", ZIP_STORED) as archive:
        for number, (case, written) in enumerate(files):
            name = file_name(number, case, written.suffix)
            archive.writestr(ZipInfo(name, EARLIEST), written.content)
    return Written(out.getvalue(), ZIP, ".zip")
