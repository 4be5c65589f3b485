"""``tunevlseg evaluate``: measure the base model and a checkpoint on labelled images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from server.cli.common import Base, DataDir, Device


def evaluate(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA_FOLDER",
            help="Folder in the benchmark's layout: images/, masks/, anns/<split>.json.",
        ),
    ],
    checkpoint: Annotated[
        str | None,
        typer.Option(
            metavar="REF",
            help="Checkpoint to compare with zero-shot: dataset, dataset@alias or dataset/v0001.",
        ),
    ] = None,
    split: Annotated[
        str, typer.Option(help="Split to measure on; 'train' is refused, as it was tuned on.")
    ] = "val",
    prompt_key: Annotated[str, typer.Option(help="Which annotated prompt to ask with.")] = "p1",
    phrase: Annotated[
        str | None, typer.Option(help="One phrase for all images instead of the annotated ones.")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Probability of the mask's edge. Default: the checkpoint's, or 0.5."),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images per forward pass.")] = 16,
    out: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write the report, with every image, as JSON.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON, not a table.")] = False,
    data_dir: DataDir = None,
    base: Base = None,
    device: Device = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads. Default: torch's choice.")] = None,
    allow_training_images: Annotated[
        bool, typer.Option("--allow-training-images", help="Measure on 'train' all the same.")
    ] = False,
) -> None:
    """Measure zero-shot and, with `--checkpoint`, a tuned checkpoint on the same images.

    Dice and IoU are per image at its own resolution, then averaged, with a 95 % interval by
    bootstrap over images; two empty masks agree (1). Pooled IoU counts all pixels of the set.
    """
    import json

    from rich.console import Console
    from rich.progress import Progress

    from models_store.files import replace_file
    from models_store.packs import ZERO_SHOT
    from models_store.registry import Registry
    from server.cli.common import open_base
    from server.cli.figures import figures_console_table
    from server.settings import read_settings
    from trainer.comparison import comparison_report, figures_table
    from trainer.evaluate import THRESHOLD, evaluate_examples, evaluation_examples

    deployment = read_settings(base=base, device=device, data_dir=data_dir)
    vlsm, place = open_base(deployment, threads)
    packs, reference = {"zero-shot": ZERO_SHOT}, None
    if checkpoint is not None:
        registry = Registry(deployment.registry_root)
        reference = registry.resolve(checkpoint)
        tuned = registry.read(reference)
        tuned.check_base(vlsm.spec)
        packs[str(reference)] = tuned.pack
        threshold = tuned.config.threshold if threshold is None else threshold
    examples = evaluation_examples(
        data,
        vlsm,
        split=split,
        prompt_key=prompt_key,
        phrase=phrase,
        allow_training_images=allow_training_images,
    )
    results = []
    with Progress(console=Console(stderr=True), transient=True) as bar:
        for name, pack in packs.items():
            task = bar.add_task(f"measuring {name}", total=len(examples))
            results.append(
                evaluate_examples(
                    vlsm,
                    pack,
                    examples,
                    device=place,
                    threshold=THRESHOLD if threshold is None else threshold,
                    batch_size=batch_size,
                    progress=lambda done, _total, task=task: bar.update(task, completed=done),  # type: ignore[misc]
                )
            )
    report = {"base": {"name": vlsm.spec.name, "digest": vlsm.spec.digest}, "checkpoint": None} | (
        {} if reference is None else {"checkpoint": str(reference)}
    )
    report |= comparison_report(
        results[0],
        results[1] if len(results) > 1 else None,
        split=split,
        prompt_key=prompt_key,
        phrase=phrase,
    )
    text = json.dumps(report, indent=2)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        replace_file(out, f"{text}\n".encode())
    if as_json:
        typer.echo(text)
        return
    title = f"{data.name}, {split}, n={report['n']}" + (f": {reference}" if reference else "")
    Console().print(figures_console_table(title, figures_table(report)))
