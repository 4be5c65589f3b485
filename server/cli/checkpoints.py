"""``tunevlseg checkpoints``: look at the registry, move its aliases, carry versions in and out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from server.cli import decisions, exchange
from server.cli.checkpoint_parts import (
    AsJson,
    Author,
    Dataset,
    Reason,
    Ref,
    labels_at,
    login,
    print_json,
    print_table,
    registry_at,
)
from server.cli.common import DataDir

if TYPE_CHECKING:
    from models_store.history import AliasMove

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="List, inspect, promote, pin, export and import checkpoints.",
)

Alias = Annotated[str, typer.Option(help="champion or candidate.")]


@app.command("list")
def list_(
    dataset: Annotated[str | None, typer.Option(help="Only this dataset's.")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List checkpoints, each verified."""
    from server.catalogue import list_checkpoints

    found = list_checkpoints(registry_at(data_dir), dataset)
    if as_json:
        return print_json([info.model_dump(mode="json") for info in found])
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
    print_table(("reference", "aliases", "strategy", "depth", "base", "created", "state"), rows)


@app.command()
def show(reference: Ref, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Show one checkpoint: its configuration and its evaluation."""
    from server.catalogue import describe_checkpoint

    registry = registry_at(data_dir)
    info = describe_checkpoint(registry, registry.resolve(reference)).model_dump(mode="json")
    if as_json:
        return print_json(info)
    rows = [(key, _plain(value)) for key, value in info.items()]
    print_table(("", str(info["reference"])), rows)


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
    from trainer.jobs.aliases import move_alias

    registry, labels = registry_at(data_dir), labels_at(data_dir)
    target, by = registry.resolve(reference), author or login()
    move = move_alias(registry, lambda: labels.present, target, alias, by=by, reason=reason)
    _print_move(move, as_json)


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
    from trainer.jobs.aliases import roll_back

    registry, labels = registry_at(data_dir), labels_at(data_dir)
    by = author or login()
    move = roll_back(registry, lambda: labels.present, dataset, alias, by=by, reason=reason)
    _print_move(move, as_json)


@app.command()
def history(dataset: Dataset, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Show who moved which alias when and why, oldest first."""
    moves = registry_at(data_dir).history(dataset)
    if as_json:
        return print_json([move.model_dump(mode="json") for move in moves])
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
    print_table(("at", "alias", "kind", "from", "to", "author", "reason"), rows)


@app.command()
def verify(reference: Ref, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Check every file of a checkpoint against its digest; a damaged one is exit code 2."""
    registry = registry_at(data_dir)
    target = registry.resolve(reference)
    checkpoint = registry.read(target)
    facts = {"reference": str(target), "verified": True, "digest": checkpoint.config.pack_digest}
    if as_json:
        return print_json(facts)
    typer.echo(f"{target} is whole; its pack has digest {checkpoint.config.pack_digest}")


app.command()(decisions.pin)
app.command()(decisions.unpin)
app.command()(decisions.reject)
app.command("decisions")(decisions.list_decisions)
app.command()(exchange.export)
app.command("import")(exchange.import_)
app.command()(exchange.push)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _print_move(move: AliasMove, as_json: bool) -> None:
    if as_json:
        return print_json(move.model_dump(mode="json"))
    typer.echo(f"{move.alias}: {move.previous or 'nothing'} -> {move.version}")
