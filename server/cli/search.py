"""``tunevlseg search``: the best settings of a strategy on a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from server.cli.common import Base, DataDir, Device
from server.cli.tune_options import Strategy


def search(
    data: Annotated[Path, typer.Argument(metavar="DATA_FOLDER", help="Folder with a split `train`.")],
    strategy: Annotated[Strategy, typer.Option(help="The strategy to search.")] = Strategy.VPT,
    trials: Annotated[int, typer.Option(min=1, help="Trials in all, over all processes.")] = 20,
    random_first: Annotated[int, typer.Option(min=1, help="How many of them are drawn at random.")] = 10,
    epochs: Annotated[int, typer.Option(min=1, help="Most epochs of a trial.")] = 20,
    batch_size: Annotated[int, typer.Option(min=1, help="Images per step.")] = 8,
    n: Annotated[int | None, typer.Option("--n", min=1, help="Prompt tokens per layer.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the draws and of every trial.")] = 12345,
    prompt_key: Annotated[str, typer.Option(help="Which annotated prompt to tune on.")] = "p1",
    phrase: Annotated[str | None, typer.Option(help="One phrase for all images.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Use only this many images of train.")] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the study. Default: made of dataset and settings.")
    ] = None,
    data_dir: DataDir = None,
    base: Base = None,
    device: Device = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads. Default: torch's choice.")] = None,
) -> None:
    """Search a strategy's settings in the benchmark's space, on images held out of `train`.

    Give the same command in several terminals to share the trials between them; a stopped search
    goes on where it was when the command is given again. `val` is never looked at.
    """
    from rich.console import Console

    from models_store.allocation import keep_freed_memory
    from server.cli.common import open_base
    from server.settings import read_settings
    from trainer.search.study import SearchResult
    from trainer.search.study import search as run
    from trainer.tuning.devices import fabric_on
    from trainer.tuning.settings import TuneSettings

    settings = TuneSettings(
        strategy=strategy.value,
        epochs=epochs,
        min_epochs=min(10, epochs),
        batch_size=batch_size,
        n=n,
        seed=seed,
        prompt_key=prompt_key,
        phrase=phrase,
        limit=limit,
    )
    settings.check()
    deployment = read_settings(base=base, device=device, data_dir=data_dir)
    keep_freed_memory()
    vlsm, place = open_base(deployment, threads)
    console = Console(stderr=True)

    def tell(result: SearchResult) -> None:
        console.print(result.text(), highlight=False, soft_wrap=True)

    result = run(
        data,
        vlsm=vlsm,
        settings=settings,
        state=deployment.data_dir,
        trials=trials,
        random_first=random_first,
        seed=seed,
        name=name,
        fabric=fabric_on(place, settings.precision),
        watch=tell,
    )
    typer.echo(result.text())
    typer.echo(f"Files: {result.folder}")
