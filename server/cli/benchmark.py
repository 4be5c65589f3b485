"""``tunevlseg benchmark``: combinations of strategy and base on datasets, in one table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.common import Device

if TYPE_CHECKING:
    from trainer.benchmark.run import Benchmark


def benchmark(
    data: Annotated[
        Path, typer.Option(help="Folder the datasets lie in, a folder each.", file_okay=False, exists=True)
    ],
    datasets: Annotated[str, typer.Option(help="Names of dataset folders, separated by commas.")],
    out: Annotated[
        Path,
        typer.Option(help="Where cells and table go; given again, the benchmark goes on.", file_okay=False),
    ],
    bases: Annotated[
        str, typer.Option(help="Base models, separated by commas: embedded names, folders or hub ids.")
    ] = "clipseg-tiny-med",
    combinations: Annotated[
        str,
        typer.Option(
            help="Strategies separated by commas, each on every base that takes it or as strategy@base; "
            "`all`, or `none`."
        ),
    ] = "all",
    baselines: Annotated[
        str,
        typer.Option(help="zero-shot (always there), decoder, end-to-end, separated by commas; or `all`."),
    ] = "zero-shot",
    limit: Annotated[
        int | None, typer.Option(min=2, help="Use only this many images of train. Default: all.")
    ] = None,
    val_limit: Annotated[
        int | None, typer.Option(min=2, help="Report on only this many images of val. Default: all.")
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Most epochs of a run; may stop earlier.")] = 20,
    patience: Annotated[int, typer.Option(min=1, help="Epochs without a lower loss before stopping.")] = 12,
    steps: Annotated[
        int | None,
        typer.Option(min=10, help="Most steps of an epoch. Default: as many as go through all rows."),
    ] = None,
    trials: Annotated[
        int,
        typer.Option(min=1, help="Configurations tried per cell; the best on held-out images is reported."),
    ] = 1,
    batch_size: Annotated[int, typer.Option(min=1, help="Images per step.")] = 8,
    augment: Annotated[bool, typer.Option(help="Vary images slightly, as the benchmark does.")] = True,
    prompt_key: Annotated[str, typer.Option(help="Which annotated prompt to tune and report on.")] = "p1",
    sensitivity_images: Annotated[
        int, typer.Option(min=0, help="Images on which sensitivity to the wording is measured; 0 for none.")
    ] = 24,
    seed: Annotated[int, typer.Option(help="Seed of all that is random.")] = 12345,
    device: Device = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads. Default: torch's choice.")] = None,
) -> None:
    """Tune and measure every combination on every dataset, and write one table.

    Each cell is one strategy or baseline on one base and dataset: tuned with the same budget,
    chosen on images held out of `train`, measured once on `val`. Finished cells are kept, so the
    same command goes on after a stop and tries failed cells again; several processes may share one
    out folder. Written there: benchmark.md, benchmark.csv, benchmark.png and cells/*.json.
    """
    import shlex
    import sys

    import torch
    from rich.console import Console

    from models_store.allocation import keep_freed_memory
    from models_store.bases import load_base
    from server.cli.benchmark_progress import BenchmarkProgress
    from server.cli.common import pick_device
    from server.settings import read_settings
    from trainer.benchmark.plan import Protocol, parse_baselines, parse_combinations, plan_cells, split_names
    from trainer.benchmark.run import Benchmark
    from trainer.benchmark.store import CellStore

    protocol = Protocol(
        limit=limit,
        val_limit=val_limit,
        epochs=epochs,
        patience=patience,
        steps=steps,
        trials=trials,
        batch_size=batch_size,
        augment=augment,
        prompt_key=prompt_key,
        sensitivity_images=sensitivity_images,
        seed=seed,
    )
    protocol.check()
    chosen_baselines = parse_baselines(baselines)
    keep_freed_memory()
    if threads is not None:
        torch.set_num_threads(threads)
    place = pick_device(read_settings(device=device).device)
    loaded = [load_base(name, device=place) for name in split_names(bases)]
    specs = [vlsm.spec for vlsm in loaded]
    cells = plan_cells(
        root=data,
        datasets=split_names(datasets),
        specs=specs,
        combinations=parse_combinations(combinations, specs),
        baselines=chosen_baselines,
        protocol=protocol,
    )
    console = Console(stderr=True)
    with BenchmarkProgress(console, cells, protocol) as progress:
        running = Benchmark(
            root=data,
            cells=cells,
            bases={vlsm.spec.name: vlsm for vlsm in loaded},
            protocol=protocol,
            store=CellStore(out),
            device=torch.device(place),
            command=shlex.join(["tunevlseg", *sys.argv[1:]]),
            watch=progress.watch(),
        )
        running.run()
    _close(running, out)


def _close(benchmark: Benchmark, out: Path) -> None:
    """Say what is written, and leave with code 1 where cells are missing."""
    from trainer.benchmark.run import MARKDOWN, unfinished

    left = list(unfinished(benchmark.store.contents(benchmark.cells)))
    typer.echo(f"{out / MARKDOWN}: {len(benchmark.cells) - len(left)} of {len(benchmark.cells)} cells")
    if left:
        typer.echo(f"not finished: {', '.join(f'{c.dataset}/{c.base}/{c.method}' for c in left)}")
        typer.echo("The same command goes on with them; what failed is told in the table.")
        raise typer.Exit(1)
