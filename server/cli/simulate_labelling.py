"""``tunevlseg simulate-labelling``: how many labels an order of labelling saves, on labelled data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from server.cli.common import Base, Device

if TYPE_CHECKING:
    from trainer.acquisition.simulation.plan import Cell


def simulate_labelling(
    folders: Annotated[
        list[Path],
        typer.Argument(help="Dataset folders with `train` and `val`.", file_okay=False, exists=True),
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="Where cells, table and chart go; given again, the simulation goes on.", file_okay=False
        ),
    ],
    orders: Annotated[
        str,
        typer.Option(
            help="Orders, separated by commas: combined, uncertainty, disagreement, distance, random, as-is."
        ),
    ] = "random,uncertainty,disagreement,distance,combined",
    sizes: Annotated[str, typer.Option(help="Numbers of labels, rising, separated by commas.")] = "8,16,32",
    seeds: Annotated[
        int, typer.Option(min=1, help="How many times each order is tried, with other first labels.")
    ] = 5,
    pool: Annotated[int, typer.Option(min=3, help="Images of train there are to label.")] = 120,
    val: Annotated[int, typer.Option(min=1, help="Images of val to measure on.")] = 60,
    strategy: Annotated[str, typer.Option(help="What is tuned: coop or cocoop.")] = "coop",
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of each run.")] = 4,
    steps: Annotated[int, typer.Option(min=1, help="Steps of each epoch.")] = 10,
    batch_size: Annotated[int, typer.Option(min=1, help="Images per step.")] = 4,
    prompt_key: Annotated[str, typer.Option(help="Which annotated prompt to use.")] = "p1",
    base: Base = None,
    device: Device = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads. Default: torch's choice.")] = None,
) -> None:
    """Label a dataset in simulation, by each order, and measure Dice at each number of labels.

    Start from a few labels drawn at random; tune; ask an order which images to label next; give it their
    masks; go on. Written to the out folder: labelling.md, labelling.csv, labelling.png and cells/*.json.
    Finished cells are kept, so the same command goes on after a stop.
    """
    import shlex
    import sys

    import torch

    from models_store.allocation import keep_freed_memory
    from models_store.bases import load_base
    from models_store.errors import BadInputError
    from server.cli.common import pick_device
    from server.settings import read_settings
    from trainer.acquisition.simulation.plan import Protocol
    from trainer.acquisition.simulation.study import simulate
    from trainer.acquisition.simulation.table import MARKDOWN
    from trainer.benchmark.plan import split_names

    try:
        numbers = tuple(int(size) for size in sizes.split(","))
    except ValueError as error:
        raise BadInputError(f"sizes {sizes!r} are not whole numbers separated by commas") from error
    protocol = Protocol(
        sizes=numbers,
        pool=pool,
        val=val,
        strategy=strategy,
        epochs=epochs,
        steps=steps,
        batch_size=batch_size,
        prompt_key=prompt_key,
    )
    protocol.check()
    keep_freed_memory()
    if threads is not None:
        torch.set_num_threads(threads)
    settings = read_settings(base=base, device=device)
    place = pick_device(settings.device)
    simulate(
        folders,
        out,
        vlsm=load_base(settings.base, device=place),
        protocol=protocol,
        orders=split_names(orders),
        seeds=range(seeds),
        command=shlex.join(["tunevlseg", *sys.argv[1:]]),
        device=torch.device(place),
        ended=_tell,
    )
    typer.echo(f"written: {out / MARKDOWN}")


def _tell(cell: Cell, kept: bool, content: dict[str, Any]) -> None:
    """One line per cell."""
    what = f"{cell.dataset} seed {cell.seed} {cell.order} {cell.labels} labels"
    how = "kept" if kept else f"{content['seconds']:.0f} s"
    typer.echo(f"{what}: Dice {content['dice']:.3f} ({how})")
