"""``tunevlseg pretrain``: make an embedded base model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def pretrain(
    data: Annotated[Path, typer.Option(help="Folder that holds the recipe's datasets.", file_okay=False)],
    out: Annotated[Path, typer.Option(help="Folder of base models to write into.", file_okay=False)],
    run_dir: Annotated[
        Path | None, typer.Option(help="Where the run's state is kept. Default: <out>/.run-<name>.")
    ] = None,
    recipe: Annotated[
        str, typer.Option(help="clipseg-tiny-med, cris-tiny-med, or a recipe file.")
    ] = "clipseg-tiny-med",
    steps: Annotated[int | None, typer.Option(min=1, help="Steps instead of the recipe's.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads. Default: torch's choice.")] = None,
    evaluate_only: Annotated[
        bool, typer.Option(help="Only measure and describe the model that is in --out.")
    ] = False,
) -> None:
    """Pretrain a base model from open data, resuming where the last run stopped.

    Writes `<out>/<name>` in the hub's layout, measures it on the `val` splits, writes the figures
    into `eval.json` and the model card, and records the digest in `<out>/digests.json`.
    Needs the extra `pretrain` for the ImageNet stem and CLIP's vocabulary.
    """
    import dataclasses

    import torch
    from rich.console import Console

    from models_store.allocation import keep_freed_memory
    from trainer.pretrain.recipe import find_recipe, read_recipe
    from trainer.pretrain.report import judge_and_describe
    from trainer.pretrain.session import run_pretraining

    console = Console(stderr=True)
    plan = read_recipe(find_recipe(recipe))
    if steps is not None:
        plan = dataclasses.replace(
            plan, schedule=dataclasses.replace(plan.schedule, steps=steps, polish_steps=0)
        )
    keep_freed_memory()
    if threads is not None:
        torch.set_num_threads(threads)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if not evaluate_only:
        run_pretraining(
            plan,
            data=data,
            out=out,
            run_dir=run_dir or out / f".run-{plan.name}",
            device=torch.device(device),
            console=console,
        )
    judge_and_describe(plan, data=data, parent=out, device=device, console=console)
