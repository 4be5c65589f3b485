"""The registry: versions, aliases and their history, as plain files.

<root>/<dataset>/versions/v0001/   an immutable checkpoint folder
<root>/<dataset>/aliases.json      which version each alias means, replaced atomically
<root>/<dataset>/history.jsonl     who moved which alias when, why, from where to where
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from models_store.checkpoints import (
    Checkpoint,
    NewCheckpoint,
    read_checkpoint,
    read_sums,
    verify_sums,
    write_checkpoint,
)
from models_store.errors import BadInputError, DamagedError, UnknownNameError
from models_store.files import append_line, folder_aside, locked, replace_file, sync_folder
from models_store.history import AliasMove, trail_of

DATASET_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
VERSION_NAME = re.compile(r"v[0-9]{4,}")
CHAMPION, CANDIDATE = "champion", "candidate"
ALIASES = (CHAMPION, CANDIDATE)
_ALIASES_FILE = TypeAdapter(dict[str, str])


@dataclass(frozen=True)
class Reference:
    """A version of a dataset, written ``dataset/v0001``."""

    dataset: str
    version: str

    def __str__(self) -> str:
        return f"{self.dataset}/{self.version}"


class Registry:
    """Checkpoints under one folder, shared by any number of processes.

    Args:
        root: The folder; made when the first version is published.
    """

    def __init__(self, root: Path):
        self.root = root

    # Reading

    def datasets(self) -> list[str]:
        """Names of the datasets that have a version."""
        if not self.root.is_dir():
            return []
        folders = (p for p in self.root.iterdir() if DATASET_NAME.fullmatch(p.name) and p.is_dir())
        return sorted(p.name for p in folders if self._has_version(p))

    def versions(self, dataset: str) -> list[str]:
        """Versions of a dataset, oldest first."""
        return self._versions(self._folder(dataset))

    def folder(self, reference: Reference) -> Path:
        """Folder of a version.

        Raises:
            UnknownNameError: There is no such dataset or version; the message lists what there is.
        """
        # One look and no list: there may be thousands of versions.
        path = self._folder(reference.dataset) / "versions" / reference.version
        if not VERSION_NAME.fullmatch(reference.version) or not path.is_dir():
            have = self.versions(reference.dataset)
            raise UnknownNameError(
                f"dataset {reference.dataset!r} has no version {reference.version!r}; it has {_listing(have)}"
            )
        return path

    def read(self, reference: Reference) -> Checkpoint:
        """Read and verify a version."""
        return read_checkpoint(self.folder(reference))

    def has(self, dataset: str) -> bool:
        """Whether there is a dataset of this name, with a version."""
        return bool(DATASET_NAME.fullmatch(dataset)) and self._has_version(self.root / dataset)

    def aliases(self, dataset: str) -> dict[str, str]:
        """Aliases of a dataset and the versions they mean."""
        return self.read_aliases(dataset)[0]

    def read_aliases(self, dataset: str) -> tuple[dict[str, str], float]:
        """Aliases of a dataset, and when one of them was last moved, in seconds since 1970."""
        path = self._folder(dataset) / "aliases.json"
        try:
            with path.open("rb") as file:
                # Of the very file that is read; another may take its place meanwhile.
                return _ALIASES_FILE.validate_json(file.read()), os.fstat(file.fileno()).st_mtime
        except FileNotFoundError:
            return {}, 0.0
        except ValidationError as error:
            raise DamagedError(f"{path} is not an object of aliases and versions: {error}") from error

    def history(self, dataset: str) -> list[AliasMove]:
        """Every move of every alias, oldest first; a line cut short by a crash is left out."""
        path = self._folder(dataset) / "history.jsonl"
        if not path.is_file():
            return []
        moves = []
        for line in path.read_bytes().splitlines():
            try:
                moves.append(AliasMove.model_validate_json(line))
            except ValidationError:
                continue
        return moves

    def resolve(self, text: str) -> Reference:
        """Turn ``dataset``, ``dataset@alias`` or ``dataset/version`` into a version.

        A bare dataset means its champion.

        Raises:
            UnknownNameError: The dataset, alias or version is not there.
            BadInputError: The text is none of the three forms.
        """
        match = re.fullmatch(r"([^/@]+)(?:/([^/@]+)|@([^/@]+))?", text)
        if match is None:
            raise BadInputError(
                f"{text!r} is not a checkpoint; write dataset, dataset@alias or dataset/version"
            )
        dataset, version, alias = match.groups()
        if version is None:
            alias = alias or CHAMPION
            aliases = self.aliases(dataset)
            if alias not in aliases:
                raise UnknownNameError(
                    f"dataset {dataset!r} has no alias {alias!r}; it has {_listing(sorted(aliases))}"
                )
            version = aliases[alias]
        reference = Reference(dataset, version)
        self.folder(reference)
        return reference

    # Writing

    def publish(self, dataset: str, new: NewCheckpoint) -> Reference:
        """Write a new version, whole or not at all, and return it.

        Raises:
            BadInputError: The dataset's name is not acceptable.
        """
        return self._add(dataset, lambda aside: write_checkpoint(aside, new), again=True)[0]

    def take_in(self, dataset: str, fill: Callable[[Path], None]) -> tuple[Reference, bool]:
        """Add a version from elsewhere, whole or not at all, unless its files are a version already.

        Args:
            dataset: The dataset.
            fill: Puts the checkpoint's files into the empty folder it is given, durably.

        Returns:
            The version, and whether it is new.

        Raises:
            BadInputError: The dataset's name is not acceptable.
            DamagedError: What was put in does not verify.
        """
        return self._add(dataset, fill, again=False)

    def _add(self, dataset: str, fill: Callable[[Path], None], *, again: bool) -> tuple[Reference, bool]:
        check_dataset_name(dataset)
        folder = self.root / dataset
        versions = folder / "versions"
        versions.mkdir(parents=True, exist_ok=True)
        with locked(folder), folder_aside(folder) as aside:
            fill(aside)
            have = self._versions(folder)
            if not again:
                read_checkpoint(aside)
                same = [version for version in have if _same_files(versions / version, aside)]
                if same:
                    return Reference(dataset, same[0]), False
            version = f"v{int(have[-1][1:]) + 1 if have else 1:04d}"
            os.rename(aside, versions / version)
            for changed in (versions, folder, self.root):
                sync_folder(changed)
        return Reference(dataset, version), True

    def move_alias(self, reference: Reference, alias: str, *, author: str, reason: str) -> AliasMove:
        """Let an alias mean a version.

        The history is written first, so that no move is without its record.

        Raises:
            UnknownNameError: The version is not there.
            BadInputError: The alias is not one of the known ones.
            DamagedError: The version does not verify.
        """
        check_alias(alias)
        self.read(reference)
        folder = self._folder(reference.dataset)
        with locked(folder):
            return self._set_alias(folder, reference, alias, "move", author, reason)

    def rollback(self, dataset: str, alias: str, *, author: str, reason: str) -> AliasMove:
        """Let an alias mean what it meant before its last move; again goes back further.

        Raises:
            BadInputError: There is nothing to go back to.
        """
        check_alias(alias)
        folder = self._folder(dataset)
        with locked(folder):
            moves = [move for move in self.history(dataset) if move.alias == alias]
            trail = trail_of(moves, self.aliases(dataset).get(alias))
            if len(trail) < 2:
                raise BadInputError(f"alias {alias!r} of {dataset!r} has no earlier version to go back to")
            reference = Reference(dataset, trail[-2])
            self.read(reference)
            return self._set_alias(folder, reference, alias, "rollback", author, reason)

    def _set_alias(
        self,
        folder: Path,
        reference: Reference,
        alias: str,
        kind: Literal["move", "rollback"],
        author: str,
        reason: str,
    ) -> AliasMove:
        aliases = self.aliases(reference.dataset)
        move = AliasMove(
            alias=alias,
            kind=kind,
            previous=aliases.get(alias),
            version=reference.version,
            author=author,
            reason=reason,
            at=datetime.now(UTC),
        )
        append_line(folder / "history.jsonl", move.model_dump_json())
        content = json.dumps(aliases | {alias: reference.version}, indent=2, sort_keys=True) + "\n"
        replace_file(folder / "aliases.json", content.encode())
        return move

    def _folder(self, dataset: str) -> Path:
        if not self.has(dataset):
            raise UnknownNameError(f"no dataset {dataset!r}; there are {_listing(self.datasets())}")
        return self.root / dataset

    @staticmethod
    def _has_version(folder: Path) -> bool:
        try:
            with os.scandir(folder / "versions") as entries:
                return any(VERSION_NAME.fullmatch(entry.name) for entry in entries)
        except (FileNotFoundError, NotADirectoryError):
            return False

    @staticmethod
    def _versions(folder: Path) -> list[str]:
        versions = folder / "versions"
        if not versions.is_dir():
            return []
        found = (p.name for p in versions.iterdir() if VERSION_NAME.fullmatch(p.name))
        return sorted(found, key=lambda name: int(name[1:]))


def _same_files(version: Path, aside: Path) -> bool:
    """Whether a version that is whole holds the same files as a checkpoint that verified."""
    try:
        verify_sums(version)
        return read_sums(version) == read_sums(aside)
    except DamagedError:
        return False


def check_dataset_name(name: str) -> None:
    """Raise BadInputError unless the name can be a folder's name everywhere."""
    if not DATASET_NAME.fullmatch(name):
        raise BadInputError(
            f"dataset name {name!r} is not acceptable; use 1 to 64 of a-z, 0-9, '-' and '_', "
            "starting with a letter or digit"
        )


def check_alias(alias: str) -> None:
    """Raise BadInputError unless the alias is a known one."""
    if alias not in ALIASES:
        raise BadInputError(f"no alias {alias!r}; there are {_listing(ALIASES)}")


def _listing(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + (" ..." if len(names) > 20 else "") or "none"
