"""``tunevlseg labels``: put labelled images in, look at them, review and freeze them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from server.cli.checkpoint_parts import AsJson, Author, login, print_json
from server.cli.common import DataDir

if TYPE_CHECKING:
    from server.client.labels import LabelCalls
    from server.schemas import LabelReport
    from server.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Put labelled images in, look at them, review and freeze them.",
)
Dataset = Annotated[str, typer.Argument(help="A labelled dataset.")]
Url = Annotated[
    str | None,
    typer.Option(
        help="A running service, such as http://127.0.0.1:8080. Default: the data directory itself."
    ),
]


@contextmanager
def _service(url: str | None, data_dir: Path | None) -> Iterator[tuple[LabelCalls | None, Settings]]:
    """The calls of a service that was named, and the settings of this machine."""
    from server.client import Client, ClientError
    from server.errors import SettingsError
    from server.settings import read_settings

    settings = read_settings(data_dir=data_dir)
    if url is None:
        yield None, settings
        return
    with Client(url) as client:
        try:
            yield client.labels, settings
        except ClientError as error:
            raise SettingsError(f"{url}: {error}") from error


@contextmanager
def _store(settings: Settings) -> Iterator[Any]:
    from server.labels import Labels

    labels = Labels(settings.labels_url, settings.blobs_root)
    try:
        yield labels
    finally:
        labels.close()


@app.command()
def add(
    dataset: Annotated[str, typer.Argument(help="A labelled dataset; made on first use.")],
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            exists=True,
            help="A folder or ZIP archive of labelled images in any accepted layout, or DICOM; or an image.",
        ),
    ],
    mask: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="The mask of one image.")
    ] = None,
    phrase: Annotated[
        str | None, typer.Option(help="What the mask shows; of a folder one phrase for all images.")
    ] = None,
    class_name: Annotated[str | None, typer.Option(help="The class of one image's mask.")] = None,
    group: Annotated[str | None, typer.Option(help="What belongs together, such as a patient's key.")] = None,
    split: Annotated[str | None, typer.Option(help="train or val, for one image. Default: decided.")] = None,
    state: Annotated[str, typer.Option(help="accepted, draft or rejected.")] = "accepted",
    form: Annotated[
        str | None, typer.Option("--format", help="tasks, coco, class-folders, class-index or plain.")
    ] = None,
    annotator: Author = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, keep nothing.")] = False,
    url: Url = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Add labelled images: all of what is named or nothing, and what is there already stays.

    Exit code 2, with every fault by file, if something cannot be right.
    """
    from server.cli.label_parts import Wish, add_by_service, add_here

    wish = Wish(
        dataset=dataset,
        source=source,
        mask=mask,
        phrase=phrase,
        class_name=class_name,
        group=group,
        split=split,
        state=state,
        format=form,
        annotator=annotator or login(),
        dry_run=dry_run,
    )
    with _service(url, data_dir) as (calls, settings):
        if calls is not None:
            report = add_by_service(calls, wish)
        else:
            with _store(settings) as labels:
                report = add_here(labels, settings, wish)
    if as_json:
        return print_json(report.model_dump(mode="json"))
    _say(report)


def _say(report: LabelReport) -> None:
    would = "would be " if report.dry_run else ""
    splits = ", ".join(f"{count} in {split}" for split, count in sorted(report.splits.items()))
    typer.echo(
        f"{report.dataset}: {report.images} images {would}added{f' ({splits})' if splits else ''}, "
        f"{report.known_images} were there; {report.annotations} annotations {would}added, "
        f"{report.known_annotations} were there"
    )
    if report.flagged:
        typer.echo(f"{report.flagged} images should be looked at: their flags say why")
    for remark in report.remarks:
        typer.echo(f"  {remark}")


@app.command("list")
def list_(
    dataset: Annotated[
        str | None, typer.Argument(help="A labelled dataset. Default: all, in numbers.")
    ] = None,
    labelled: Annotated[
        bool | None, typer.Option("--labelled/--unlabelled", help="Only images that are, or are not.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Only those of train or val.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="At most so many images.")] = 100,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List labelled datasets, or the images of one with what is marked in them."""
    from server.cli.label_parts import choice
    from server.schemas import LabelledImageInfo
    from server.settings import read_settings
    from trainer.labels.listing import list_images
    from trainer.labels.new import Split

    with _store(read_settings(data_dir=data_dir)) as labels:
        if dataset is None:
            return _list_datasets(labels, as_json)
        wanted = None if split is None else choice(Split, split)
        found = list_images(labels.existing, dataset, labelled=labelled, split=wanted, limit=limit)
    if as_json:
        shown = [LabelledImageInfo.model_validate(image).model_dump(mode="json") for image in found]
        return print_json(shown)
    for image in found:
        marks = ", ".join(f"#{each.id} {each.phrase} ({each.state})" for each in image.annotations)
        flags = f"  ! {'; '.join(image.flags)}" if image.flags else ""
        size = f"{image.width}x{image.height}"
        typer.echo(f"{image.id}  {image.name}  {size}  {image.split}  {marks or 'no label'}{flags}")


def _list_datasets(labels: Any, as_json: bool) -> None:
    from dataclasses import asdict

    store = labels.present
    counts = {} if store is None else {name: asdict(store.counts(name)) for name in store.names()}
    if as_json:
        return print_json(counts)
    for name, said in counts.items():
        splits = ", ".join(f"{count} {split}" for split, count in sorted(said["splits"].items()))
        states = ", ".join(f"{count} {state}" for state, count in said["annotations"].items() if count)
        typer.echo(f"{name}: {said['images']} images ({splits}), {said['unlabelled']} unlabelled; {states}")


@app.command()
def review(
    dataset: Dataset,
    annotation: Annotated[int, typer.Argument(min=1, help="An annotation's number; `list` shows them.")],
    state: Annotated[str, typer.Argument(help="accepted, rejected or draft.")],
    reason: Annotated[str, typer.Option(help="Why; kept for good.")],
    reviewer: Author = None,
    data_dir: DataDir = None,
) -> None:
    """Accept or reject an annotation, or make it a draft again; earlier reviews stay."""
    from server.cli.label_parts import choice
    from server.settings import read_settings
    from trainer.labels.listing import show_annotation
    from trainer.labels.new import State

    with _store(read_settings(data_dir=data_dir)) as labels:
        store = labels.existing
        before = show_annotation(store, dataset, annotation)
        store.review(annotation, choice(State, state), by=reviewer or login(), reason=reason)
        typer.echo(f"annotation {annotation} of {dataset}: {before.state} -> {state}")


@app.command()
def freeze(
    dataset: Dataset, author: Author = None, data_dir: DataDir = None, as_json: AsJson = False
) -> None:
    """Freeze what is accepted now as a revision; the last one is shown where nothing changed."""
    from server.schemas import RevisionInfo
    from server.settings import read_settings
    from trainer.labels.revisions import freeze as freeze_now

    with _store(read_settings(data_dir=data_dir)) as labels:
        made = freeze_now(labels.existing, dataset, by=author or login())
    if as_json:
        return print_json(RevisionInfo.model_validate(made).model_dump(mode="json"))
    typer.echo(f"{dataset} revision {made.number}: {made.counts}, digest {made.digest}")
