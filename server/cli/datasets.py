"""``tunevlseg datasets``: look at labelled data before anything is trained on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

BAD_DATA = 2

app = typer.Typer(no_args_is_help=True, help="Look at labelled datasets.")


@app.callback()
def datasets() -> None:
    """Look at labelled datasets."""


@app.command()
def check(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The dataset's folder.")],
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="class-index, tasks, coco, class-folders or plain. Default: the one the folder looks like.",
        ),
    ] = None,
    prompt_key: Annotated[
        str, typer.Option(help="The prompt it will be used with: p1, p2, ..., or random.")
    ] = "p1",
    phrase: Annotated[
        str | None, typer.Option(help="One phrase for all images instead of the annotated ones.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, not tables.")] = False,
) -> None:
    """Say what a dataset holds, what its phrases give away, and every fault, file by file.

    Reads every image and mask. Exit code 2 if the data cannot be used.
    """
    import json

    from rich.console import Console

    from trainer.data.dataset import inspect_dataset
    from trainer.data.phrases import PhraseRule
    from trainer.data.summary import summary

    report = summary(inspect_dataset(folder, format=form, rule=PhraseRule(prompt_key, phrase)))
    if as_json:
        typer.echo(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        _print(Console(), report)
    if report["faults"]:
        raise typer.Exit(BAD_DATA)


def _print(console: Any, report: dict[str, Any]) -> None:
    console.print(f"{report['folder']}: format {report['format']}", markup=False)
    if (sizes := report["image_sizes"]) is not None:
        (narrow, wide), (low, high) = sizes["width"], sizes["height"]
        console.print(f"{sizes['distinct']} image sizes, {narrow} to {wide} by {low} to {high} pixels")
    splits = report["splits"]
    rows = [[split, *map(str, counts.values())] for split, counts in splits.items()]
    console.print(_table(["split", "images", "rows", "empty masks"], rows))
    if report["classes"]:
        rows = [[name, *map(str, of_split.values())] for name, of_split in report["classes"].items()]
        console.print(_table(["class", *(f"in {split}" for split in splits)], rows))
    if report["prompts"]:
        rows = [
            [key, str(said["texts"]), "; ".join(said["most_frequent"]), str(said["empty_masks_told"])]
            for key, said in report["prompts"].items()
        ]
        console.print(_table(["prompt", "texts", "most frequent", "empty masks told"], rows))
    for heading in ("warnings", "faults"):
        console.print(f"{heading}: {len(report[heading]) or 'none'}")
        for line in report[heading]:
            console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)


def _table(headings: list[str], rows: list[list[str]]) -> Table:
    """A table of texts, which may hold what would be markup."""
    from rich.table import Table
    from rich.text import Text

    table = Table(*headings)
    for row in rows:
        table.add_row(*map(Text, row))
    return table
