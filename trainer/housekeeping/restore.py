"""From a backup to an empty data folder, checked file by file before anything is put in place."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from models_store.errors import BadInputError, DamagedError
from models_store.files import folder_aside, sync_folder, write_file
from trainer.housekeeping.backup import FORMAT, HEADER, MIGRATION, OWNER_ONLY, SUMS, read_sums
from trainer.housekeeping.rows import TABLES, add_lines, count_on, is_empty, table_lines
from trainer.labels.database import translated
from trainer.labels.store import LabelStore


@dataclass(frozen=True)
class Restored:
    """What was put back."""

    files: int
    rows: int
    datasets: int


def restore(store: LabelStore, registry_root: Path, source: Path, *, keys: Path) -> Restored:
    """Put a backup's content into an empty store and an absent registry.

    Files come first, then all rows at once, then the registry at once: what a kill leaves is either
    empty, so that restoring again works, or lacks only checkpoints, which restoring again then adds.

    Args:
        store: An empty store; its database may be of another kind than the one backed up.
        registry_root: Where the registry is to be; absent or empty.
        source: The backup.
        keys: Folder for the data folder's secrets.

    Raises:
        BadInputError: There is something in the store or the registry already.
        DamagedError: The backup is not whole; nothing was put in place.
        StoreFullError: The disk is full.
    """
    if registry_root.is_dir() and any(registry_root.iterdir()):
        raise BadInputError(f"{registry_root} holds checkpoints; restore into an empty data folder")
    with translated(), _opened(source) as tar:
        registry_root.parent.mkdir(parents=True, exist_ok=True)
        with folder_aside(registry_root.parent) as aside:
            unpack(tar, source, aside)
            tables = {name: (aside / "tables" / f"{name}.jsonl").read_bytes().splitlines() for name in TABLES}
            with store.database.reading() as session:
                present = not is_empty(session)
                migration = session.scalar(MIGRATION)
            made_by = json.loads((aside / HEADER).read_bytes()).get("migration")
            if made_by != migration:
                raise BadInputError(
                    f"{source} was made at migration {made_by!r} of the database and this program is at "
                    f"{migration!r}; restore with the version that made it, then upgrade"
                )
            if present and not _same(store, tables):
                raise BadInputError("the database holds labelled data; restore into an empty one")
            blobs = sorted((aside / "blobs").iterdir()) if (aside / "blobs").is_dir() else []
            for path in blobs:
                store.blobs.put(path.read_bytes())
            if not present:
                _add_rows(store, tables)
            for path in (aside / "keys").iterdir() if (aside / "keys").is_dir() else ():
                keys.mkdir(parents=True, exist_ok=True)
                path.chmod(OWNER_ONLY)
                os.replace(path, keys / path.name)
            (aside / "registry").mkdir(exist_ok=True)
            if registry_root.is_dir():
                registry_root.rmdir()
            os.rename(aside / "registry", registry_root)
            sync_folder(registry_root.parent)
    datasets = sum(path.is_dir() for path in registry_root.iterdir())
    return Restored(len(blobs), sum(map(len, tables.values())), datasets)


def unpack(tar: tarfile.TarFile, source: Path, target: Path) -> None:
    """Unpack a backup, checking every file against its sum.

    Raises:
        DamagedError: A file is missing, is not what was written, or has no business in a backup.
    """
    sums = read_sums(tar, source)
    seen = set()
    try:
        for member in tar:
            name = PurePosixPath(member.name)
            if member.name == SUMS:
                continue
            if member.name not in sums or not member.isfile() or name.is_absolute() or ".." in name.parts:
                raise DamagedError(f"{source} holds {member.name!r}, which is no file of a backup")
            data = tar.extractfile(member)
            content = b"" if data is None else data.read()
            if hashlib.sha256(content).hexdigest() != sums[member.name]:
                raise DamagedError(f"{source}: {member.name} is not what was written")
            path = target.joinpath(*name.parts)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, content)
            seen.add(member.name)
    except (tarfile.TarError, EOFError) as error:
        raise DamagedError(f"{source} is not a whole backup: {error}") from error
    missing = sorted(sums.keys() - seen)
    if missing:
        raise DamagedError(f"{source} lacks {len(missing)} of its files, {missing[0]} among them")
    header = json.loads((target / HEADER).read_bytes())
    if header.get("format") != FORMAT:
        raise DamagedError(f"{source} is of format {header.get('format')!r}; this version reads {FORMAT}")


def _opened(source: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(source, mode="r:")
    except FileNotFoundError as error:
        raise BadInputError(f"there is no file {source}") from error
    except tarfile.TarError as error:
        raise DamagedError(f"{source} is not a whole backup: {error}") from error


def _add_rows(store: LabelStore, tables: dict[str, list[bytes]]) -> None:
    with store.database.writing() as session:
        if not is_empty(session):
            raise BadInputError("the database holds labelled data; restore into an empty one")
        for name, lines in tables.items():
            add_lines(session, name, lines)
        count_on(session)


def _same(store: LabelStore, tables: dict[str, list[bytes]]) -> bool:
    """Whether the database holds just what the backup does: an earlier try got so far."""
    with store.database.reading() as session:
        return all(_equal(table_lines(session, name), lines) for name, lines in tables.items())


def _equal(have: Iterator[bytes], lines: list[bytes]) -> bool:
    return [line.rstrip(b"\n") for line in have] == lines
