"""From arguments to the fields of a form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

FormFile = tuple[str, tuple[str | None, BinaryIO | bytes | str]]


@dataclass(frozen=True)
class Upload:
    """A file to send under another name than its own."""

    path: Path
    name: str


Source = str | Path | bytes | Upload
"""An image to send: a path, the bytes of a file, or a path with a name."""


def listed(sources: Source | Sequence[Source]) -> list[Source]:
    """One or several, as a list."""
    return [sources] if isinstance(sources, str | Path | bytes | Upload) else list(sources)


@contextmanager
def opened(sources: Sequence[Source]) -> Iterator[list[FormFile]]:
    """The files as fields named ``image``, open for as long as they are sent.

    Raises:
        OSError: One cannot be opened.
    """
    with ExitStack() as files:
        fields: list[FormFile] = []
        for source in sources:
            if isinstance(source, bytes):
                fields.append(("image", ("image", source)))
                continue
            upload = source if isinstance(source, Upload) else Upload(Path(source), Path(source).name)
            fields.append(("image", (upload.name, files.enter_context(upload.path.open("rb")))))
        yield fields


def form_of(**fields: Any) -> dict[str, Any]:
    """Fields as text; None and False are left out, lists are repeated fields."""
    return {name: _text(value) for name, value in fields.items() if value is not None and value is not False}


def _text(value: Any) -> str | list[str]:
    if isinstance(value, list | tuple):
        return [str(each) for each in value]
    return "true" if value is True else str(value)
