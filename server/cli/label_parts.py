"""Adding labelled images: to this machine's data, or to a service's."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeVar
from zipfile import ZIP_STORED, ZipFile, is_zipfile

import typer

from models_store.errors import BadInputError

if TYPE_CHECKING:
    from server.client.labels import LabelCalls
    from server.labels import Labels
    from server.schemas import LabelReport
    from server.settings import Settings
    from trainer.intake.batch import Batch, Told

Choice = TypeVar("Choice", bound=StrEnum)


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is to be added, and what is said of it."""

    dataset: str
    source: Path
    mask: Path | None
    phrase: str | None
    class_name: str | None
    group: str | None
    split: str | None
    state: str
    format: str | None
    annotator: str
    dry_run: bool

    @property
    def many(self) -> bool:
        """Whether it is a folder or an archive."""
        return self.source.is_dir() or is_zipfile(self.source)


def choice(kind: type[Choice], text: str) -> Choice:
    """One of some words.

    Raises:
        BadInputError: It is none of them.
    """
    try:
        return kind(text)
    except ValueError as error:
        raise BadInputError(f"{text!r} is not one of {', '.join(kind)}") from error


def add_by_service(calls: LabelCalls, wish: Wish) -> LabelReport:
    """Send it to a service; a folder as an archive."""
    if not wish.many:
        return calls.add(
            wish.dataset,
            wish.source,
            annotator=wish.annotator,
            mask=wish.mask,
            phrase=wish.phrase,
            class_name=wish.class_name,
            group=wish.group,
            split=wish.split,
            state=wish.state,
            dry_run=wish.dry_run,
        )
    _check_many(wish)
    with TemporaryDirectory() as folder:
        return calls.add_archive(
            wish.dataset,
            _archive(wish.source, Path(folder)),
            annotator=wish.annotator,
            phrase=wish.phrase,
            group=wish.group,
            format=wish.format,
            state=wish.state,
            dry_run=wish.dry_run,
            progress=_progress,
        )


def add_here(labels: Labels, settings: Settings, wish: Wish) -> LabelReport:
    """Put it into the data directory; no server is needed, and one may run."""
    from models_store.registry import check_dataset_name
    from server.intake.archive import taken_archive
    from trainer.intake.batch import Told
    from trainer.labels.new import State

    check_dataset_name(wish.dataset)
    told = Told(annotator=wish.annotator, state=choice(State, wish.state))
    if not wish.many:
        return _kept(labels, wish, _single(settings, wish, told), told)
    _check_many(wish)
    with (
        TemporaryDirectory() as folder,
        _archive(wish.source, Path(folder)).open("rb") as archive,
        taken_archive(
            archive,
            told,
            incoming=settings.incoming_root,
            keys=settings.keys_root,
            limits=settings.intake_limits,
            image_limits=settings.image_limits,
            phrase=wish.phrase,
            group=wish.group,
            format=wish.format,
            progress=_progress,
        ) as batch,
    ):
        return _kept(labels, wish, batch, told)


def _kept(labels: Labels, wish: Wish, batch: Batch, told: Told) -> LabelReport:
    from server.intake.report import report_of
    from trainer.intake.batch import keep
    from trainer.intake.preview import preview

    if wish.dry_run:
        added = preview(labels.present, wish.dataset, batch)
    else:
        added = keep(labels.store, wish.dataset, batch, by=told.annotator)
    return report_of(wish.dataset, batch, added, dry_run=wish.dry_run)


def _single(settings: Settings, wish: Wish, told: Told) -> Batch:
    from server.images.dicom import looks_like_dicom
    from server.intake.pseudonyms import open_pseudonyms
    from server.intake.single import MarkSent, take_image
    from server.intake.single_dicom import take_dicom_image
    from trainer.labels.new import Split

    content = wish.source.read_bytes()
    split = None if wish.split is None else choice(Split, wish.split)
    mark = None
    if wish.mask is not None:
        mark = MarkSent(
            file=wish.mask.read_bytes(), runs=None, phrase=wish.phrase, class_name=wish.class_name
        )
    if looks_like_dicom(content):
        return take_dicom_image(
            content,
            mark,
            told,
            pseudonyms=open_pseudonyms(settings.keys_root),
            limits=settings.image_limits,
            group=wish.group,
            split=split,
        )
    return take_image(
        content,
        wish.source.name,
        mark,
        told,
        max_pixels=settings.max_pixels,
        group=wish.group,
        split=split,
    )


def _check_many(wish: Wish) -> None:
    given = {"--mask": wish.mask, "--class-name": wish.class_name, "--split": wish.split}
    sent = [option for option, value in given.items() if value is not None]
    if sent:
        raise BadInputError(f"leave out {', '.join(sent)}: the files say so themselves")


def _archive(source: Path, folder: Path) -> Path:
    """The archive itself, or one of a folder's files; links are not followed."""
    if not source.is_dir():
        return source
    made = folder / "folder.zip"
    with ZipFile(made, "w", ZIP_STORED) as archive:
        for path in sorted(source.rglob("*")):
            if path.is_file() and not path.is_symlink():
                archive.write(path, path.relative_to(source).as_posix())
    return made


def _progress(step: str, done: int, of: int) -> None:
    """Tell people; a file or a pipe gets the report alone."""
    if sys.stderr.isatty():
        typer.echo(f"\r{step} {done} of {of}", nl=done == of, err=True)
