"""What the commands over the registry share: options, and how they read and print."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from models_store.registry import Registry

Ref = Annotated[
    str, typer.Argument(help="`dataset/version`, `dataset@alias`, or `dataset` for its champion.")
]
Author = Annotated[str | None, typer.Option(help="Who. Default: the user's login name.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of tables.")]


def registry_at(data_dir: Path | None) -> Registry:
    """The registry under a data directory; None means the one that is set."""
    from server.cli.common import open_registry
    from server.settings import read_settings

    return open_registry(read_settings(data_dir=data_dir))


def login() -> str:
    """The user's name on this machine."""
    import getpass

    return getpass.getuser()


def print_json(content: Any) -> None:
    """Print a value as JSON."""
    typer.echo(json.dumps(content, indent=2, ensure_ascii=False))
