"""Refusing an upload, with what is wrong in each of its files."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.data.faults import UnusableDataError

# What a sentence sets around or behind a file's name.
AROUND = "'\"(),:;"


@dataclass(frozen=True)
class FileFault:
    """Something that is wrong.

    Attributes:
        file: The path in the upload of the file it is about, if it is about one.
        message: What is wrong.
    """

    file: str | None
    message: str

    def __str__(self) -> str:
        said = self.file is None or self.file in self.message
        return self.message if said else f"{self.file}: {self.message}"


class RefusedUploadError(UnusableDataError):
    """Labelled data that cannot be right; nothing of it was kept.

    Attributes:
        of_files: Everything that is wrong.
    """

    def __init__(self, headline: str, of_files: Sequence[FileFault]):
        self.of_files = tuple(of_files)
        super().__init__(headline, [str(fault) for fault in of_files])


def located(
    messages: Sequence[str],
    folder: Path,
    files: Collection[str],
    about: Mapping[str, Path] | None = None,
) -> list[FileFault]:
    """Faults of the files of a folder, from messages that name them by their whole path or inside it.

    Args:
        messages: A line each.
        folder: The folder, whose own place is nobody's business and is taken out of the messages.
        files: Paths in the folder.
        about: By message, the file it is about where it names none.
    """
    faults = []
    for message in messages:
        cleaned = message.replace(f"{folder}/", "").replace(str(folder), "the upload")
        file = _file_in(cleaned, files)
        if file is None and about is not None and message in about:
            file = about[message].relative_to(folder).as_posix()
        faults.append(FileFault(file, cleaned))
    return faults


def _file_in(message: str, files: Collection[str]) -> str | None:
    """The longest name of a file that a message begins with, else the first it mentions."""
    words = message.split(" ")
    for end in range(len(words), 0, -1):
        start = " ".join(words[:end]).rstrip(AROUND)
        if start in files:
            return start
    return next((word.strip(AROUND) for word in words if word.strip(AROUND) in files), None)
