"""What a checkpoint from elsewhere may hold, and copying no more than that.

A checkpoint comes as names and bytes from whoever made it. Names must be those of files directly
in a folder, sizes stay under stated bounds, and every file is one that ``SHA256SUMS`` lists.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO

from models_store.checkpoints import CONFIG, SUMS, WEIGHTS, Checkpoint, is_plain, read_checkpoint, read_sums
from models_store.errors import BadInputError, DamagedError
from models_store.files import sync_folder

MEBIBYTE = 2**20
MOST_FILES = 256
MOST_BYTES = 4096 * MEBIBYTE
# Of each file but the weights; they are read whole.
MOST_BYTES_OF_OTHERS = 64 * MEBIBYTE
# What the hub and git put beside a repository's files.
NOT_OURS = (".git", ".gitattributes", ".cache")
CHUNK = MEBIBYTE


def check_sizes(sizes: Mapping[str, int], source: str) -> None:
    """Check the names and sizes of a checkpoint's files before any of them is read.

    Args:
        sizes: Bytes of each file by name.
        source: What they are called in messages.

    Raises:
        BadInputError: They cannot be those of a checkpoint, or are beyond the bounds.
    """
    for name in sizes:
        if not is_plain(name) or "\\" in name or not name.isprintable():
            raise BadInputError(f"{source} holds {name!r}; a checkpoint's files lie directly in its folder")
    if len(sizes) > MOST_FILES:
        raise BadInputError(f"{source} holds {len(sizes)} files; a checkpoint has at most {MOST_FILES}")
    for name in (SUMS, CONFIG, WEIGHTS):
        if name not in sizes:
            raise BadInputError(f"{source} is not a checkpoint: it lacks {name}; it holds {_some(sizes)}")
    for name, size in sizes.items():
        if size > (MOST_BYTES if name == WEIGHTS else MOST_BYTES_OF_OTHERS):
            raise BadInputError(f"{name} in {source} has {size} bytes, which is beyond what is taken in")
    if sum(sizes.values()) > MOST_BYTES:
        raise BadInputError(f"{source} holds {sum(sizes.values())} bytes; at most {MOST_BYTES} are taken in")


def list_folder(folder: Path) -> dict[str, int]:
    """Names and sizes of a folder's files, leaving out what git and the hub put there.

    Raises:
        BadInputError: It holds a link, a folder or a device.
    """
    sizes = {}
    for path in sorted(folder.iterdir()):
        if path.name in NOT_OURS:
            continue
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            kind = "a link" if stat.S_ISLNK(status.st_mode) else "not a file"
            raise BadInputError(f"{path} is {kind}; a checkpoint is a folder of plain files")
        sizes[path.name] = status.st_size
    return sizes


def copy_folder(source: Path, target: Path) -> None:
    """Copy a checkpoint's files durably into an empty folder that is not in place yet.

    Raises:
        BadInputError: The source is no folder of plain files within the bounds.
    """
    sizes = list_folder(source)
    check_sizes(sizes, str(source))
    for name in sizes:
        # Not following a link that took the file's place since it was looked at.
        descriptor = os.open(source / name, os.O_RDONLY | os.O_NOFOLLOW)
        with open(descriptor, "rb") as data:
            copy_stream(data, target / name, sizes[name])
    sync_folder(target)


def copy_stream(data: IO[bytes], target: Path, size: int) -> None:
    """Write a stream durably to a new file.

    Raises:
        DamagedError: It does not hold ``size`` bytes.
    """
    written = 0
    with target.open("xb") as out:
        while written <= size and (chunk := data.read(min(CHUNK, size + 1 - written))):
            written += len(chunk)
            out.write(chunk)
        out.flush()
        os.fsync(out.fileno())
    if written != size:
        raise DamagedError(f"{target.name} has {'more' if written > size else 'less'} than its {size} bytes")


def verify_whole(folder: Path) -> Checkpoint:
    """Read a checkpoint, verify every digest, and see that it holds nothing else.

    Raises:
        DamagedError: A file is missing, changed, unlisted or does not parse.
    """
    checkpoint = read_checkpoint(folder)
    unlisted = {path.name for path in folder.iterdir()} - {SUMS, *read_sums(folder)}
    if unlisted:
        raise DamagedError(f"{folder.name} holds files that {SUMS} does not list: {_some(unlisted)}")
    return checkpoint


def _some(names: Iterable[str]) -> str:
    listed = sorted(names)
    return ", ".join(listed[:10]) + (" ..." if len(listed) > 10 else "") or "nothing"
