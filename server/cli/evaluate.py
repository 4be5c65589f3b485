"""``tunevlseg evaluate``: measure the base model and a checkpoint on labelled images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from server.cli.common import Base, DataDir, Device

if TYPE_CHECKING:
    from rich.progress import TaskID


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
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            file_okay=False,
            help="Write report.html, report.md, report.json and images.csv there, with curves, "
            "distributions, sensitivity to the wording and the worst cases. It shows the images.",
        ),
    ] = None,
    sensitivity: Annotated[
        bool | None,
        typer.Option(help="Measure sensitivity to the wording. Default: with --report or --paraphrases."),
    ] = None,
    paraphrases: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            exists=True,
            help='JSON file of other ways to ask, {"phrase": ["other words", ...]}. Default: the other '
            "annotated prompts of the same image, and generic rewordings.",
        ),
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
    bootstrap over images; two empty masks agree (1). Pooled IoU counts all pixels of the set; HD95
    is in pixels. `--report` writes a page with all of it, offline and in one file.
    """
    import json

    from rich.console import Console

    from models_store.checkpoints import read_evaluation
    from models_store.files import replace_file
    from models_store.packs import ZERO_SHOT
    from models_store.registry import Registry
    from server.cli.common import open_base
    from server.cli.figures import figures_console_table
    from server.settings import read_settings
    from trainer.comparison import figures_table
    from trainer.evaluate import evaluation_examples
    from trainer.reports.cases import worst_cases
    from trainer.reports.measure import Measured, measure, read_paraphrases
    from trainer.reports.write import HTML, write_report

    deployment = read_settings(base=base, device=device, data_dir=data_dir)
    other_words = None if paraphrases is None else read_paraphrases(paraphrases)
    vlsm, place = open_base(deployment, threads)
    pack, reference = None, None
    training: dict[str, Any] = {}
    if checkpoint is not None:
        registry = Registry(deployment.registry_root)
        reference = registry.resolve(checkpoint)
        tuned = registry.read(reference)
        tuned.check_base(vlsm.spec)
        pack = tuned.pack
        threshold = tuned.config.threshold if threshold is None else threshold
        written = read_evaluation(registry.folder(reference))
        training = {k: v for k, v in written.items() if k in ("training", "selection")}
    examples = evaluation_examples(
        data,
        vlsm,
        split=split,
        prompt_key=prompt_key,
        phrase=phrase,
        allow_training_images=allow_training_images,
    )
    if sensitivity is None:
        sensitivity = report is not None or paraphrases is not None
    with _bars(len(examples)) as progress:
        found: Measured = measure(
            vlsm,
            pack,
            examples,
            split=split,
            prompt_key=prompt_key,
            phrase=phrase,
            threshold=threshold,
            batch_size=batch_size,
            device=place,
            sensitivity=sensitivity,
            paraphrases=other_words,
            progress=progress,
        )
    content = {
        "base": {"name": vlsm.spec.name, "digest": vlsm.spec.digest},
        "checkpoint": None if reference is None else str(reference),
    } | found.report
    text = json.dumps(content, indent=2)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        replace_file(out, f"{text}\n".encode())
    title = f"{data.name}, {split}, n={content['n']}" + (f": {reference}" if reference else "")
    if report is not None:
        shown = ZERO_SHOT if pack is None else pack
        cases = worst_cases(vlsm, shown, examples, found.shown, device=place)
        write_report(report, content | training, title=title, cases=cases)
    if as_json:
        typer.echo(text)
        return
    Console().print(figures_console_table(title, figures_table(content)))
    if report is not None:
        Console().print(f"Report: {report / HTML}", soft_wrap=True)


@contextmanager
def _bars(total: int) -> Iterator[Callable[[str, int], None]]:
    """Bars by name on standard error, while measuring."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def tell(what: str, done: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done)

        yield tell
