"""``tunevlseg checkpoints pin``, ``unpin``, ``reject`` and ``decisions``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

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
    from trainer.jobs.outcomes import Decision


def pin(
    dataset: Dataset,
    reason: Reason,
    author: Author = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Keep a dataset's champion: neither jobs nor people replace it until it is unpinned."""
    from trainer.jobs.decisions import Decisions

    registry, labels = registry_at(data_dir), labels_at(data_dir)
    # Asked first: the database is made on first use, and for nothing else than a decision.
    registry.resolve(f"{dataset}@champion")
    decided = Decisions(labels.store, registry).pin(dataset, by=author or login(), reason=reason)
    _print(decided, f"{dataset} is pinned to {decided.version}", as_json)


def unpin(
    dataset: Dataset,
    reason: Reason,
    author: Author = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Let a dataset's champion be replaced again."""
    from trainer.jobs.decisions import Decisions

    registry, labels = registry_at(data_dir), labels_at(data_dir)
    decided = Decisions(labels.existing, registry).unpin(dataset, by=author or login(), reason=reason)
    _print(decided, f"{dataset} is no longer pinned to {decided.version}", as_json)


def reject(
    reference: Ref,
    reason: Reason,
    author: Author = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Put on record that a version is not to be used."""
    from trainer.jobs.decisions import Decisions

    registry, labels = registry_at(data_dir), labels_at(data_dir)
    target = registry.resolve(reference)
    decided = Decisions(labels.store, registry).reject(target, by=author or login(), reason=reason)
    _print(decided, f"{target} is rejected", as_json)


def list_decisions(
    dataset: Dataset,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 20,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List what was decided on a dataset's versions, newest first: by whom, and why."""
    from trainer.jobs.decisions import Decisions

    registry, labels = registry_at(data_dir), labels_at(data_dir)
    found = Decisions(labels.existing, registry).newest(dataset, limit)
    if as_json:
        return print_json([_content(each) for each in found])
    rows = [
        (
            f"{each.at:%Y-%m-%d %H:%M}",
            each.kind.replace("_", " "),
            each.version or "",
            each.champion or "",
            each.author,
            each.reason,
        )
        for each in found
    ]
    print_table(("at", "decision", "version", "champion then", "author", "reason"), rows)


def _print(decided: Decision, words: str, as_json: bool) -> None:
    if as_json:
        return print_json(_content(decided))
    typer.echo(words)


def _content(decided: Decision) -> Any:
    from server.schemas import DecisionInfo

    return DecisionInfo.model_validate(decided).model_dump(mode="json")
