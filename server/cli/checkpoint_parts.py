"""What the commands over the registry share: options, and how they read and print."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models_store.registry import Registry
    from server.labels import Labels

Ref = Annotated[
    str, typer.Argument(help="`dataset/version`, `dataset@alias`, or `dataset` for its champion.")
]
Dataset = Annotated[str, typer.Argument(help="A dataset.")]
Reason = Annotated[str, typer.Option(help="Why; kept in the history.")]
Author = Annotated[str | None, typer.Option(help="Who. Default: the user's login name.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of tables.")]


def registry_at(data_dir: Path | None) -> Registry:
    """The registry under a data directory; None means the one that is set."""
    from server.cli.common import open_registry
    from server.settings import read_settings

    return open_registry(read_settings(data_dir=data_dir))


def labels_at(data_dir: Path | None) -> Labels:
    """The labelled data under a data directory, not opened yet; None means the one that is set."""
    from server.labels import Labels
    from server.settings import read_settings

    settings = read_settings(data_dir=data_dir)
    return Labels(settings.labels_url, settings.blobs_root)


def login() -> str:
    """The user's name on this machine."""
    import getpass

    return getpass.getuser()


def print_json(content: Any) -> None:
    """Print a value as JSON."""
    typer.echo(json.dumps(content, indent=2, ensure_ascii=False))


def print_table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows under their columns' names, as text: names and reasons are not markup."""
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    first, *others = columns
    # The first cell names what the next command is given, so it is never cut short.
    widest = max((len(row[0]) for row in rows), default=0)
    table = Table(Column(first, no_wrap=True, min_width=widest), *others)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)
