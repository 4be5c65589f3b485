"""``tunevlseg gate``: whether a candidate should take the champion's place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.checkpoint_parts import Author, labels_at, login
from server.cli.common import Base, DataDir, Device

if TYPE_CHECKING:
    from rich.progress import TaskID

    from models_store.registry import Registry
    from trainer.gate.record import GateRecord
    from trainer.gate.versions import Versions

NOT_PROMOTED = 1


def gate(
    data: Annotated[
        Path, typer.Argument(metavar="DATASET_FOLDER", help="Folder with splits `val` and `train`.")
    ],
    candidate: Annotated[
        str, typer.Option(metavar="REF", help="The version to judge, such as busi/v0002 or busi@candidate.")
    ],
    champion: Annotated[
        str | None,
        typer.Option(metavar="REF", help="The version to compare with. Default: the dataset's champion."),
    ] = None,
    rule: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False, exists=True, help="Promotion rule as TOML. Default: the built-in one, see --json."
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            file_okay=False,
            help="Write report.html, report.md, report.json and images.csv there. It shows the images.",
        ),
    ] = None,
    promote: Annotated[
        bool,
        typer.Option(
            "--promote",
            help="Make it champion if the gate passes; exit code 1 if it does not. Else none moves.",
        ),
    ] = False,
    author: Author = None,
    sensitivity: Annotated[bool, typer.Option(help="Measure other wordings too.")] = True,
    seed: Annotated[int, typer.Option(help="Of folds and resampling.")] = 12345,
    batch_size: Annotated[int, typer.Option(min=1, help="Images per forward pass.")] = 16,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole record as JSON.")] = False,
    data_dir: DataDir = None,
    base: Base = None,
    device: Device = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads. Default: torch's choice.")] = None,
) -> None:
    """Judge a candidate against the champion and zero-shot on the same frozen images, by a rule.

    Where `val` has too few images the candidate's settings are tuned again on folds of `train`, and
    the decision says so. It is kept as `gate.json` beside the dataset's versions. No alias moves
    unless `--promote` is given and every clause of the rule passes.
    """
    from rich.console import Console

    from server.cli.common import open_base, open_registry
    from server.settings import read_settings
    from trainer.gate.record import Verdict
    from trainer.gate.rule import PromotionRule, read_rule
    from trainer.gate.store import gate_json, write_gate
    from trainer.gate.versions import judge_versions, read_versions
    from trainer.jobs.aliases import check_unpinned, move_alias
    from trainer.reports.candidate import write_candidate_report
    from trainer.reports.candidate_versions import versions_report
    from trainer.reports.write import HTML

    asked = PromotionRule() if rule is None else read_rule(rule)
    deployment = read_settings(base=base, device=device, data_dir=data_dir)
    registry, labels = open_registry(deployment), labels_at(data_dir)
    vlsm, place = open_base(deployment, threads)
    versions = read_versions(registry, candidate, champion, vlsm)
    if promote:
        check_in_use(registry, versions)
        check_unpinned(lambda: labels.present, versions.candidate.dataset)
    with _bars() as progress:
        judged = judge_versions(
            data,
            versions,
            vlsm=vlsm,
            rule=asked,
            device=place,
            seed=seed,
            batch_size=batch_size,
            sensitivity=sensitivity,
            progress=progress,
        )
    written = write_gate(registry, versions.candidate, judged.record)
    if report is not None:
        found = versions_report(judged, versions, vlsm=vlsm, device=place, folder=data)
        write_candidate_report(report, found)
    if as_json:
        typer.echo(gate_json(judged.record), nl=False)
    else:
        _print(judged.record)
        Console().print(f"Record: {written}", soft_wrap=True)
        if report is not None:
            Console().print(f"Report: {report / HTML}", soft_wrap=True)
    if not promote:
        return
    if judged.record.verdict is not Verdict.PROMOTE:
        raise typer.Exit(NOT_PROMOTED)
    check_in_use(registry, versions)
    by, reason = author or login(), f"gate: {judged.record.reason}"
    move_alias(registry, lambda: labels.present, versions.candidate, "champion", by=by, reason=reason)
    typer.echo(f"{versions.candidate} is champion.", err=as_json)


def check_in_use(registry: Registry, versions: Versions) -> None:
    """Raise BadInputError unless what was compared with is the champion in use."""
    from models_store.errors import BadInputError
    from models_store.registry import CHAMPION

    dataset = versions.candidate.dataset
    in_use = registry.aliases(dataset).get(CHAMPION)
    if in_use == versions.candidate.version:
        raise BadInputError(f"{versions.candidate} is the champion already; leave out --promote")
    compared = None if versions.champion is None else str(versions.champion)
    if compared != (None if in_use is None else f"{dataset}/{in_use}"):
        raise BadInputError(
            f"the champion of {dataset!r} is {in_use or 'none'}, but the candidate is compared with "
            f"{compared or 'none'}; promote after a comparison with the champion in use"
        )


def _print(record: GateRecord) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from trainer.reports.candidate_sections import change

    console = Console()
    for side, found in record.comparisons.items():
        pair = found.dice
        words = f"against {side.replace('_', '-')}: mean Dice {pair.other:.3f} -> {pair.candidate:.3f}, "
        console.print(Text(words + change(pair.difference)))
    table = Table("clause", "outcome", "why", title=f"{record.candidate.name}: {record.route.kind}")
    for clause in record.clauses:
        # As text: phrases and classes are not markup.
        table.add_row(clause.name, clause.outcome.value, Text(clause.reason))
    console.print(table)
    console.print(Text(f"compared on {record.route.kind}: {record.route.reason}"), soft_wrap=True)
    console.print(Text(f"{record.verdict.value}: {record.reason}"), soft_wrap=True)


@contextmanager
def _bars() -> Iterator[Callable[[str, int, int], None]]:
    """Bars by name on standard error, while measuring."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)

        yield tell
