"""Names of an archive's files: which are refused, and which are left out."""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePosixPath

LONGEST_PATH, LONGEST_PART = 1000, 200
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
DRIVE = re.compile(r"[A-Za-z]:")
# What file managers leave behind; nobody means to send it.
LITTER_FOLDERS = frozenset({"__macosx", "$recycle.bin", ".git"})
LITTER_FILES = frozenset({".ds_store", "thumbs.db", "desktop.ini"})
NESTED = frozenset({".zip", ".tar", ".gz", ".tgz", ".bz2", ".tbz", ".xz", ".txz", ".7z", ".rar", ".zst"})


def name_fault(name: str) -> str | None:
    """Why a file of this name is not unpacked, or None where it is harmless."""
    if CONTROL.search(name):
        return "its name has control characters"
    if "\\" in name:
        return "its name has a backslash; folders are separated by /"
    if name.startswith("/") or DRIVE.match(name):
        return "its name is an absolute path; names inside the archive are accepted"
    parts = name.removesuffix("/").split("/")
    if any(part in ("..", ".", "") for part in parts):
        return "its name has empty parts or parts of dots, which may point out of the archive"
    if len(name.encode()) > LONGEST_PATH or any(len(part.encode()) > LONGEST_PART for part in parts):
        return f"its name is longer than {LONGEST_PATH} bytes, or a part of it than {LONGEST_PART}"
    return None


def shown(name: str) -> str:
    """A name as a message may show it."""
    return CONTROL.sub("?", name[:200])


def same_on_any_disk(name: str) -> str:
    """A text that two names share if some file system takes them for one: by case or by accents."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def is_litter(name: str) -> bool:
    """Whether a file is one that a file manager left behind."""
    path = PurePosixPath(name.lower())
    return path.name in LITTER_FILES or path.name.startswith("._") or bool(LITTER_FOLDERS & set(path.parts))


def is_nested(name: str) -> bool:
    """Whether a file's name is that of an archive."""
    return PurePosixPath(name.lower()).suffix in NESTED
