"""``tunevlseg checkpoints``: look at the registry, move its aliases, carry versions in and out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from server.cli.common import DataDir

if TYPE_CHECKING:
    from models_store.history import AliasMove
    from models_store.registry import Registry

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="List, inspect, promote, export and import checkpoints.",
)

Ref = Annotated[
    str, typer.Argument(help="`dataset/version`, `dataset@alias`, or `dataset` for its champion.")
]
Dataset = Annotated[str, typer.Argument(help="A dataset.")]
Alias = Annotated[str, typer.Option(help="champion or candidate.")]
Reason = Annotated[str, typer.Option(help="Why; kept in the history.")]
Author = Annotated[str | None, typer.Option(help="Who. Default: the user's login name.")]
Cases = Annotated[
    bool,
    typer.Option(
        "--cases",
        help="For the hub: also the pictures and per-image figures, which show the data it was made from.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of tables.")]

PASS_ON = "It holds figures and pictures of single images: pass it on only where you may pass on the data."


@app.command("list")
def list_(
    dataset: Annotated[str | None, typer.Option(help="Only this dataset's.")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List checkpoints, each verified."""
    from server.catalogue import list_checkpoints

    found = list_checkpoints(_registry(data_dir), dataset)
    if as_json:
        return _print_json([info.model_dump(mode="json") for info in found])
    rows = [
        (
            info.reference,
            ", ".join(info.aliases),
            info.strategy or "",
            str(info.depth or ""),
            info.base.name if info.base else "",
            f"{info.created:%Y-%m-%d %H:%M}" if info.created else "",
            info.fault or "ok",
        )
        for info in found
    ]
    _print_table(("reference", "aliases", "strategy", "depth", "base", "created", "state"), rows)


@app.command()
def show(reference: Ref, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Show one checkpoint: its configuration and its evaluation."""
    from server.catalogue import describe_checkpoint

    registry = _registry(data_dir)
    info = describe_checkpoint(registry, registry.resolve(reference)).model_dump(mode="json")
    if as_json:
        return _print_json(info)
    rows = [(key, _plain(value)) for key, value in info.items()]
    _print_table(("", str(info["reference"])), rows)


@app.command()
def promote(
    reference: Ref,
    reason: Reason,
    alias: Alias = "champion",
    author: Author = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Let an alias mean this version; running servers follow with their next request."""
    registry = _registry(data_dir)
    target = registry.resolve(reference)
    _print_move(registry.move_alias(target, alias, author=author or _login(), reason=reason), as_json)


@app.command()
def rollback(
    dataset: Dataset,
    reason: Reason,
    alias: Alias = "champion",
    author: Author = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Let an alias mean what it meant before its last move; again goes back further."""
    registry = _registry(data_dir)
    _print_move(registry.rollback(dataset, alias, author=author or _login(), reason=reason), as_json)


@app.command()
def history(dataset: Dataset, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Show who moved which alias when and why, oldest first."""
    moves = _registry(data_dir).history(dataset)
    if as_json:
        return _print_json([move.model_dump(mode="json") for move in moves])
    rows = [
        (
            f"{move.at:%Y-%m-%d %H:%M}",
            move.alias,
            move.kind,
            move.previous or "",
            move.version,
            move.author,
            move.reason,
        )
        for move in moves
    ]
    _print_table(("at", "alias", "kind", "from", "to", "author", "reason"), rows)


@app.command()
def verify(reference: Ref, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Check every file of a checkpoint against its digest; a damaged one is exit code 2."""
    registry = _registry(data_dir)
    target = registry.resolve(reference)
    checkpoint = registry.read(target)
    facts = {"reference": str(target), "verified": True, "digest": checkpoint.config.pack_digest}
    if as_json:
        return _print_json(facts)
    typer.echo(f"{target} is whole; its pack has digest {checkpoint.config.pack_digest}")


@app.command()
def export(
    reference: Ref,
    out: Annotated[Path, typer.Argument(help="A folder or file that is not there yet.")],
    kind: Annotated[
        Literal["folder", "zip", "hub"] | None,
        typer.Option("--format", help="Default: zip for a name that ends in `.zip`, else folder."),
    ] = None,
    cases: Cases = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Write a checkpoint out as a folder, a zip file or in the hub's layout, verified before and after."""
    from models_store.exchange import export_checkpoint

    registry = _registry(data_dir)
    target = registry.resolve(reference)
    kind = kind or ("zip" if out.suffix == ".zip" else "folder")
    export_checkpoint(registry, target, out, kind, cases=cases)
    if as_json:
        return _print_json({"reference": str(target), "format": kind, "out": str(out)})
    typer.echo(f"{target} -> {out}")
    if kind != "hub":
        typer.echo(PASS_ON)


@app.command("import")
def import_(
    source: Annotated[str, typer.Argument(help="A folder, a zip file, or a hub id `owner/name`.")],
    dataset: Annotated[str, typer.Option(help="The dataset it becomes a version of.")],
    promote: Annotated[bool, typer.Option("--promote", help="Make it the dataset's champion.")] = False,
    author: Author = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Add a checkpoint from elsewhere, verified, whole or not at all; the same files again add nothing."""
    from models_store.exchange import import_checkpoint
    from models_store.registry import CHAMPION

    registry = _registry(data_dir)
    done = import_checkpoint(registry, source, dataset)
    champion = registry.aliases(dataset).get(CHAMPION)
    if promote and champion != done.reference.version:
        move = registry.move_alias(
            done.reference, CHAMPION, author=author or _login(), reason=f"imported from {source}"
        )
        champion = move.version
    is_champion = champion == done.reference.version
    if as_json:
        return _print_json({"reference": str(done.reference), "new": done.new, "champion": is_champion})
    typer.echo(
        f"{done.reference} {'was added' if done.new else 'holds these files already; nothing was added'}"
    )
    if is_champion:
        typer.echo(f"it is the champion of {dataset}")


@app.command()
def push(
    reference: Ref,
    repository: Annotated[str, typer.Argument(help="A model repository of the hub, `owner/name`.")],
    private: Annotated[bool, typer.Option("--private", help="Nobody else may see it.")] = False,
    cases: Cases = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Upload a checkpoint to the Hugging Face hub, as whom `hf auth login` or HF_TOKEN says.

    It replaces the repository's content, which must be empty or a checkpoint.
    """
    from models_store.exchange import push_checkpoint

    registry = _registry(data_dir)
    target = registry.resolve(reference)
    pushed = push_checkpoint(registry, target, repository, private=private, cases=cases)
    if as_json:
        return _print_json({"reference": str(target)} | asdict(pushed))
    typer.echo(f"{target} -> {pushed.url} ({', '.join(pushed.files)})")


def _registry(data_dir: Any) -> Registry:
    from server.cli.common import open_registry
    from server.settings import read_settings

    return open_registry(read_settings(data_dir=data_dir))


def _login() -> str:
    import getpass

    return getpass.getuser()


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _print_json(content: Any) -> None:
    typer.echo(json.dumps(content, indent=2, ensure_ascii=False))


def _print_move(move: AliasMove, as_json: bool) -> None:
    if as_json:
        return _print_json(move.model_dump(mode="json"))
    typer.echo(f"{move.alias}: {move.previous or 'nothing'} -> {move.version}")


def _print_table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    first, *others = columns
    # The first cell names what the next command is given, so it is never cut short.
    widest = max((len(row[0]) for row in rows), default=0)
    table = Table(Column(first, no_wrap=True, min_width=widest), *others)
    for row in rows:
        # As text: names and reasons are not markup.
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)
