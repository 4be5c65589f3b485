"""One pretraining session: from a recipe and data to a base model folder."""

from __future__ import annotations

from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from trainer.pretrain.batches import BatchSource, load_corpora
from trainer.pretrain.export import write_base
from trainer.pretrain.loop import PretrainRun
from trainer.pretrain.recipe import Recipe
from trainer.pretrain.start import start
from trainer.pretrain.vocabulary import small_tokenizer


def run_pretraining(
    recipe: Recipe, *, data: Path, out: Path, run_dir: Path, device: torch.device, console: Console
) -> Path:
    """Train, or go on training, and write the averaged weights as a base model.

    Args:
        recipe: The recipe.
        data: Folder of datasets.
        out: Folder of base models to write into.
        run_dir: Where the run's state is kept between sessions.
        device: Where to train.
        console: Where the progress bar is drawn.

    Returns:
        The base model's folder.
    """
    tokenizer = small_tokenizer(recipe.network["text"]["vocabulary"])
    model = start(recipe, tokenizer)
    run = PretrainRun(
        recipe=recipe,
        model=model,
        tokenizer=tokenizer,
        source=BatchSource(recipe, load_corpora(recipe, data)),
        folder=run_dir,
        device=device,
    )
    columns = (
        TextColumn("pretraining"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.3f}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=recipe.schedule.last_step, completed=run.step, loss=float("nan"))
        run.run(lambda step, loss: bar.update(task, completed=step, loss=loss))
    return write_base(out, recipe, model.config(), run.average, tokenizer)
