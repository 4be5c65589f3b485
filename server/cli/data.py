"""``tunevlseg data``: exports, retention and garbage, backup and restore."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.common import DataDir

if TYPE_CHECKING:
    from server.settings import Settings
    from trainer.labels.store import LabelStore

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Export labelled data, remove what is not needed, back everything up and restore it.",
)
AUTHOR = "tunevlseg data"
SIZES = ("B", "kB", "MB", "GB")


@app.command()
def export(
    dataset: Annotated[str, typer.Argument(help="A labelled dataset.")],
    target: Annotated[Path, typer.Argument(help="A folder that is not there yet.", file_okay=False)],
    format: Annotated[
        str, typer.Option(help="tasks (holds everything), coco, class-folders, class-index, plain or dicom.")
    ] = "tasks",
    revision: Annotated[
        int | None, typer.Option(min=1, help="Which revision. Default: what is accepted now.")
    ] = None,
    lossy: Annotated[
        bool, typer.Option("--lossy", help="Leave out what the format cannot hold, and say what.")
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Write a dataset's accepted labels to a folder that can be read in again."""
    from models_store.errors import UnknownNameError
    from server.dicom_seg.labels import ALL_WRITERS
    from trainer.labels.export.writing import export as write
    from trainer.labels.revisions import freeze, revisions

    store, _ = _opened(data_dir)
    if revision is None:
        chosen = freeze(store, dataset, by=AUTHOR)
    else:
        found = {each.number: each for each in revisions(store, dataset)}
        if revision not in found:
            have = ", ".join(map(str, found)) or "none"
            raise UnknownNameError(f"{dataset} has no revision {revision}; it has {have}")
        chosen = found[revision]
    for lost in write(store, chosen.digest, format, target, lossy=lossy, writers=ALL_WRITERS):
        typer.echo(f"left out: {lost}")
    typer.echo(f"{target}: revision {chosen.number} of {dataset}, digest {chosen.digest}")


@app.command()
def gc(
    keep: Annotated[int, typer.Option(min=1, help="The newest so many versions of a dataset stay.")] = 10,
    days: Annotated[float, typer.Option(min=0, help="Younger versions stay.")] = 30.0,
    grace_hours: Annotated[
        float, typer.Option(min=0, help="Files and folders that nothing refers to stay this long.")
    ] = 24.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list the versions that would go.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Remove old candidates, files that nothing refers to, and what can be made anew.

    What an alias means, what ever was champion and what is pinned stays. Safe while the service runs.
    """
    from datetime import UTC, datetime, timedelta

    from models_store.registry import Registry
    from models_store.removal import remove_version
    from trainer.housekeeping.garbage import collect_files, collect_folders, pinned_versions
    from trainer.housekeeping.retention import Retention, removable

    store, settings = _opened(data_dir)
    registry = Registry(settings.registry_root)
    retention, now = Retention(keep=keep, days=days), datetime.now(UTC)
    pinned = pinned_versions(store)
    for dataset in registry.datasets():
        going = removable(registry, dataset, retention, now=now, pinned=pinned.get(dataset, ()))
        for reference in going:
            if not dry_run:
                remove_version(registry, reference)
            typer.echo(f"{'would go' if dry_run else 'removed'}: {reference}")
    if dry_run:
        return
    grace = timedelta(hours=grace_hours)
    files = collect_files(store, grace=grace)
    folders = collect_folders(store, settings.made_anew, grace=grace)
    typer.echo(f"removed {files.files} files ({_size(files.freed)}) and {folders} folders")


@app.command("backup")
def back_up(
    target: Annotated[Path, typer.Argument(help="A file that is not there yet.", dir_okay=False)],
    data_dir: DataDir = None,
) -> None:
    """Write everything to one file: labelled data, jobs, checkpoints, aliases and their history.

    Safe while the service runs. The file holds patients' images and secrets: only its owner can read it.
    """
    from models_store.registry import Registry
    from trainer.housekeeping.backup import back_up as write

    store, settings = _opened(data_dir)
    done = write(store, Registry(settings.registry_root), target, keys=_keys(settings))
    typer.echo(
        f"{target}: {done.rows} rows, {done.files} files, {done.checkpoints} checkpoints, {_size(done.bytes)}"
    )


@app.command()
def restore(
    source: Annotated[Path, typer.Argument(help="A file that `backup` wrote.", dir_okay=False)],
    data_dir: DataDir = None,
) -> None:
    """Put a backup into an empty data folder, every file checked before any is put in place."""
    from trainer.housekeeping.restore import restore as read

    store, settings = _opened(data_dir)
    done = read(store, settings.registry_root, source, keys=settings.keys_root)
    typer.echo(
        f"{settings.data_dir}: {done.rows} rows, {done.files} files, checkpoints of {done.datasets} datasets"
    )


def _opened(data_dir: Path | None) -> tuple[LabelStore, Settings]:
    from server.settings import read_settings
    from trainer.labels.blobs import BlobStore
    from trainer.labels.database import Database
    from trainer.labels.store import LabelStore

    settings = read_settings(data_dir=data_dir)
    return LabelStore(Database(settings.labels_url), BlobStore(settings.blobs_root)), settings


def _keys(settings: Settings) -> list[Path]:
    return sorted(settings.keys_root.iterdir()) if settings.keys_root.is_dir() else []


def _size(count: float) -> str:
    for unit in SIZES[:-1]:
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} {SIZES[-1]}"
