"""``tunevlseg tune``: tune a prompt checkpoint on labelled images."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from server.cli import tune_options as own
from server.cli.common import Base, DataDir, Device
from server.cli.tune_overrides import are_overrides, run_overrides


class Head(StrEnum):
    """What the additive head does."""

    NONE = "none"
    ADD = "add"
    MIX = "mix"


class Precision(StrEnum):
    """What matrix products are computed in."""

    FULL = "32"
    BF16 = "bf16"
    FP16 = "16-mixed"


class SelectOn(StrEnum):
    """Where the best epoch is chosen."""

    HOLDOUT = "holdout"
    VAL = "val"


def tune(
    context: typer.Context,
    data: Annotated[
        list[str],
        typer.Argument(
            metavar="DATA_FOLDER | KEY=VALUE...",
            help="Folder of labelled images, such as images/, masks/, anns/train.json, anns/val.json. Or a "
            "configuration's words as `python -m trainer` takes them: experiment=coop_clipseg data=busi "
            "trainer.max_epochs=20.",
        ),
    ],
    strategy: Annotated[
        own.Strategy,
        typer.Option(
            help="vpt learns tokens among the image's patches; coop learns words before the phrase, cocoop "
            "words that follow the image; maple and the shared ones learn both together. auto tries a short "
            "list within the budget and keeps what did best on images held out of train."
        ),
    ] = own.Strategy.VPT,
    budget: Annotated[
        str | None,
        typer.Option(
            help="Time for tuning, such as 90s or 2m; epochs, batch and the like then follow from it and the "
            "size of the data unless given. Default: none, for auto 2m."
        ),
    ] = None,
    warm_start: Annotated[
        str | None,
        typer.Option(
            help="Go on from a checkpoint: dataset, dataset@alias or dataset/version. It must be of the same "
            "strategy and base; depth, n, head and options follow it unless given."
        ),
    ] = None,
    depth: Annotated[
        int | None, typer.Option(min=1, help="Layers that get prompts. Default: the strategy's, 6.")
    ] = None,
    n: Annotated[
        int | None,
        typer.Option("--n", min=1, help="Prompt tokens per layer. Default: 16; the benchmark has 4."),
    ] = None,
    head: Annotated[
        Head | None, typer.Option(help="Learned last layer. Default: add; the benchmark's coop has none.")
    ] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate. Default: 0.01.")] = None,
    weight_decay: Annotated[float, typer.Option(help="Decay of the head's convolution.")] = 1e-4,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Most epochs; may stop earlier. Default: 20.")
    ] = None,
    min_epochs: own.MinEpochs = None,
    min_steps: own.MinSteps = None,
    max_steps: own.MaxSteps = None,
    patience: Annotated[
        int | None, typer.Option(min=1, help="Epochs without a lower loss before stopping. Default: 12.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Images per step, or per portion of one. Default: 8.")
    ] = None,
    accumulate: Annotated[int, typer.Option(min=1, help="Portions per step.")] = 1,
    precision: Annotated[
        Precision, typer.Option(help="Of matrix products; 16-mixed needs a GPU.")
    ] = Precision.FULL,
    seed: Annotated[int, typer.Option(help="Seed of all that is random.")] = 12345,
    prompt_key: Annotated[str, typer.Option(help="Which annotated prompt to tune on.")] = "p1",
    phrase: Annotated[
        str | None, typer.Option(help="One phrase for all images instead of the annotated ones.")
    ] = None,
    stop: Annotated[bool, typer.Option("--stop", help="Close phrases with a full stop.")] = False,
    format: Annotated[
        str | None, typer.Option(help="The folder's layout. Default: what it looks like.")
    ] = None,
    joint: Annotated[
        bool, typer.Option("--joint", help="Show all classes of an image together, if it has several.")
    ] = False,
    augment: Annotated[bool, typer.Option(help="Vary images slightly, as the benchmark does.")] = True,
    views: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Variants of each image to go round in, whose features are kept; 0: ever new ones. "
            "Default: 4.",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Use only this many images of train, of which some are held out."),
    ] = None,
    select_on: Annotated[
        SelectOn,
        typer.Option(
            help="Choose the best epoch on images held out of train, or on val as the benchmark does, "
            "which makes the figures optimistic."
        ),
    ] = SelectOn.HOLDOUT,
    initial_phrase: own.InitialPhrase = None,
    hidden: own.Hidden = None,
    lora: own.Lora = None,
    norm: own.Norm = None,
    final_bias: own.FinalBias = None,
    unified: own.Unified = None,
    normalise: own.Normalise = None,
    reference_depth: own.ReferenceDepth = None,
    width: own.Width = None,
    heads: own.Heads = None,
    feedforward: own.Feedforward = None,
    dropout: own.Dropout = None,
    pre_norm: own.PreNorm = None,
    attend: own.Attention = None,
    cache_memory: Annotated[
        float, typer.Option(min=0, help="Gigabytes of memory for image features; 0 keeps none.")
    ] = 2.0,
    cache_disk: Annotated[
        float, typer.Option(min=0, help="Gigabytes of disk for features that memory does not hold.")
    ] = 8.0,
    name: Annotated[
        str | None, typer.Option(help="Name of the dataset in the registry. Default: the folder's.")
    ] = None,
    data_dir: DataDir = None,
    base: Base = None,
    device: Device = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads. Default: torch's choice.")] = None,
    promote: Annotated[
        bool, typer.Option("--promote", help="Make the result champion even if there is one.")
    ] = False,
) -> None:
    """Tune a prompt checkpoint on labelled images and publish it.

    The base model stays frozen; some thousand learned numbers steer it. Part of `train` is held out
    to choose the best epoch; the result is compared with the untuned model on `val` and written
    into the registry with its figures, model card, curves and an overlay of best and worst cases.
    The alias `candidate` moves to it, and `champion` too if the dataset has none.

    With `--budget`, or `--strategy auto`, what was tried and why is told and recorded.

    A stopped or killed run goes on where it was when the same command is given again.

    Given KEY=VALUE words instead of a folder, it is `python -m trainer` with the same words.
    """
    if are_overrides(data):
        run_overrides(context, data)

    from rich.console import Console

    from models_store.allocation import keep_freed_memory
    from models_store.heads import HeadMode
    from server.cli.checkpoint_parts import labels_at, registry_at
    from server.cli.common import open_base
    from server.cli.tune_progress import TuneProgress
    from server.settings import read_settings
    from trainer.auto.strategies import strategies_to_try
    from trainer.feature_cache import GIGABYTE, CacheBudget
    from trainer.jobs.aliases import check_unpinned, move_alias
    from trainer.tune import tune as run
    from trainer.tuning.publish import AUTHOR
    from trainer.tuning.settings import TuneSettings

    scheduled = {
        "epochs": epochs,
        "min_epochs": min_epochs,
        "min_steps": min_steps,
        "max_steps": max_steps,
        "patience": patience,
        "batch_size": batch_size,
        "views": views,
    }
    given: dict[str, Any] = {setting: value for setting, value in scheduled.items() if value is not None}
    auto = strategy is own.Strategy.AUTO
    settings = TuneSettings(
        **given,
        strategy=TuneSettings.strategy if auto else strategy.value,
        depth=depth,
        n=n,
        head=None if head is None else HeadMode(head.value),
        initial_phrase=initial_phrase[0] if initial_phrase and len(initial_phrase) == 1 else initial_phrase,
        options=own.given_options(
            hidden=hidden,
            lora=lora,
            norm=norm,
            final_bias=final_bias,
            unified=unified,
            normalise=normalise,
            reference_depth=reference_depth,
            width=width,
            heads=heads,
            feedforward=feedforward,
            dropout=dropout,
            pre_norm=pre_norm,
            attend=attend,
        ),
        lr=lr,
        weight_decay=weight_decay,
        accumulate=accumulate,
        precision=precision.value,
        augment=augment,
        joint=joint,
        seed=seed,
        prompt_key=prompt_key,
        phrase=phrase,
        stop=stop,
        format=format,
        limit=limit,
        select_on=select_on.value,
    )
    settings.check()
    deployment, labels = read_settings(base=base, device=device, data_dir=data_dir), labels_at(data_dir)
    if promote:
        check_unpinned(lambda: labels.present, name or Path(data[0]).resolve().name)
    keep_freed_memory()
    vlsm, place = open_base(deployment, threads)
    with TuneProgress(Console(stderr=True)) as progress:
        result = run(
            Path(data[0]),
            vlsm=vlsm,
            data_dir=deployment.data_dir,
            settings=settings,
            strategies=strategies_to_try(vlsm.spec) if auto else None,
            budget=None if budget is None else own.seconds(budget),
            fixed=tuple(given),
            warm_start=warm_start,
            name=name,
            device=place,
            watch=progress.watch(),
            cache=CacheBudget(memory=int(cache_memory * GIGABYTE), disk=int(cache_disk * GIGABYTE)),
        )
    made, champion = result.published.reference, result.published.champion
    if promote and not champion:
        reason = "promotion asked for"
        move_alias(registry_at(data_dir), lambda: labels.present, made, "champion", by=AUTHOR, reason=reason)
    _report(result.report, str(made), promote or champion, result.folder)


def _report(report: dict[str, Any], reference: str, champion: bool, folder: Path) -> None:
    from rich.console import Console

    from server.cli.figures import figures_console_table
    from trainer.comparison import figures_table

    console = Console()
    title = f"{reference}: {report['n']} images of {report['split']}"
    console.print(figures_console_table(title, figures_table(report)))
    aliases = "candidate and champion" if champion else "candidate; the champion stays"
    console.print(f"{reference} is {aliases}.")
    if report["difference"]["dice"]["mean"] < 0:
        console.print("Note: on these images the untuned model did better.", style="yellow")
    console.print(f"Files: {folder}", soft_wrap=True)
