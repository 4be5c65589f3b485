"""Checkpoints out of the registry and into it: as a folder, a zip file or a hub repository.

Everything that leaves is verified before and again in its new place; everything that comes in is
checked, verified aside and added whole or not at all.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal
from zipfile import is_zipfile

from models_store.checkpoints import CARD, EVALUATION, LISTED, SUMS, read_evaluation, read_sums, write_sums
from models_store.errors import BadInputError, DamagedError, UnknownNameError
from models_store.exchange.archive import unpack_zip, write_zip
from models_store.exchange.contents import copy_folder, verify_whole
from models_store.exchange.hub import Pushed, fetch_repository, from_hub_layout, push_folder, to_hub_layout
from models_store.files import folder_aside, sync_folder, write_file
from models_store.registry import Reference, Registry, check_dataset_name

Format = Literal["folder", "zip", "hub"]
LEFT_OUT = "\nThis copy comes without the pictures and the figures of single images.\n"
PER_IMAGE = "images"  # Of an evaluation: a row per image, under the image's name.


@dataclass(frozen=True)
class Imported:
    """The version an import led to, and whether it was added or there already."""

    reference: Reference
    new: bool


def export_checkpoint(
    registry: Registry, reference: Reference, out: Path, kind: Format = "folder", *, cases: bool = False
) -> None:
    """Write a version outside the registry, whole or not at all.

    Args:
        registry: The registry.
        reference: The version.
        out: A file for ``zip``, else a folder; must not exist yet.
        kind: ``folder`` and ``zip`` are the version as it is. ``hub`` is what a push sends.
        cases: For ``hub``: also what :func:`leave_out_cases` leaves out.

    Raises:
        BadInputError: ``out`` is there already or cannot be written.
        DamagedError: The version does not verify.
    """
    if os.path.lexists(out):
        raise BadInputError(f"{out} is there already; give a path that is not")
    with _copy(registry, reference) as staged:
        if kind == "hub":
            _for_others(staged, reference, cases=cases)
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            with folder_aside(out.parent) as aside:
                if kind == "zip":
                    write_zip(staged, aside / out.name, f"{reference.dataset}-{reference.version}")
                    with opened(str(aside / out.name)) as unpacked:
                        _check_same(staged, unpacked)
                    os.rename(aside / out.name, out)
                else:
                    copy_folder(staged, aside)
                    verify_whole(aside)
                    _check_same(staged, aside)
                    os.rename(aside, out)
            sync_folder(out.parent)
        except OSError as error:
            raise BadInputError(f"{out} cannot be written: {error}") from error


def import_checkpoint(registry: Registry, source: str, dataset: str) -> Imported:
    """Add a checkpoint from elsewhere to a dataset; the same files a second time add nothing.

    Args:
        registry: The registry.
        source: A folder or a zip file, or a hub id ``owner/name``; the hub's layout turns back
            into the registry's.
        dataset: The dataset.

    Raises:
        UnknownNameError: There is no such file, folder or hub repository.
        BadInputError: It is not a checkpoint, or the dataset's name is not acceptable.
        DamagedError: It does not verify.
    """
    check_dataset_name(dataset)
    with opened(source) as staged:
        from_hub_layout(staged)
        reference, new = registry.take_in(dataset, lambda aside: copy_folder(staged, aside))
    registry.read(reference)
    return Imported(reference, new)


def push_checkpoint(
    registry: Registry, reference: Reference, repository: str, *, private: bool = False, cases: bool = False
) -> Pushed:
    """Upload a version to the hub; see :func:`models_store.exchange.hub.push_folder`.

    Args:
        registry: The registry.
        reference: The version.
        repository: ``owner/name``.
        private: Whether nobody else may see it.
        cases: Also what :func:`leave_out_cases` leaves out.
    """
    with _copy(registry, reference) as staged:
        _for_others(staged, reference, cases=cases)
        return push_folder(staged, repository, private=private, message=f"{reference}")


@contextmanager
def opened(source: str) -> Iterator[Path]:
    """A verified copy of a checkpoint's files in a scratch folder, gone on leaving.

    Args:
        source: As for :func:`import_checkpoint`.
    """
    path = Path(source).expanduser()
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / "checkpoint"
        folder.mkdir()
        if path.is_dir():
            copy_folder(path, folder)
        elif path.is_file():
            if not is_zipfile(path):
                raise BadInputError(f"{source} is neither a folder nor a zip file")
            unpack_zip(path, folder)
        elif source.count("/") == 1 and path.suffix != ".zip" and not source.startswith((".", "/", "~")):
            downloads = Path(scratch) / "downloads"
            fetch_repository(source, downloads)
            copy_folder(downloads, folder)
        else:
            raise UnknownNameError(f"no file or folder {source}; accepted too: a hub id, owner/name")
        try:
            verify_whole(folder)
        except DamagedError as error:
            # The scratch folder's name tells nobody anything.
            said = str(error).replace(f"{folder}{os.sep}", "").replace(str(folder), source)
            raise DamagedError(f"{source} is damaged: {said}") from error
        yield folder


def leave_out_cases(folder: Path) -> None:
    """Take out of a checkpoint's copy what shows single images of the data it was made from.

    That is pictures and other further files, and the evaluation's rows per image, which go by the
    images' names.
    """
    for path in folder.iterdir():
        if path.name not in (*LISTED, SUMS):
            path.unlink()
    card = (folder / CARD).read_bytes()
    write_file(folder / CARD, card + LEFT_OUT.encode())
    evaluation = read_evaluation(folder)
    if evaluation.pop(PER_IMAGE, None) is not None:
        write_file(folder / EVALUATION, (json.dumps(evaluation, indent=2) + "\n").encode())
    write_sums(folder)
    sync_folder(folder)


@contextmanager
def _copy(registry: Registry, reference: Reference) -> Iterator[Path]:
    registry.read(reference)
    with opened(str(registry.folder(reference))) as staged:
        yield staged


def _for_others(staged: Path, reference: Reference, *, cases: bool) -> None:
    if not cases:
        leave_out_cases(staged)
    to_hub_layout(staged, reference.dataset)
    verify_whole(staged)


def _check_same(staged: Path, written: Path) -> None:
    if read_sums(staged) != read_sums(written):
        raise DamagedError(f"{written.name} does not hold what was written to it")
