"""What a tuned version says of itself: ``eval.json`` and the model card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from models_store.checkpoints import CheckpointConfig
from trainer.auto.attempts import Attempt
from trainer.comparison import comparison_report, figures_table
from trainer.scores import Evaluation
from trainer.tuning.settings import TuneSettings
from trainer.tuning.state import Progress

NOTICE = "Research use only. Not a medical device."


def tuning_report(
    zero_shot: Evaluation,
    tuned: Evaluation,
    *,
    split: str,
    settings: TuneSettings,
    progress: Progress,
    selected_on: int,
    trained_on: int,
    note: str,
    attempts: Sequence[Attempt] = (),
    budget: float | None = None,
) -> dict[str, Any]:
    """Content of ``eval.json``: zero-shot against tuned on the same images, and how it came about."""
    report = comparison_report(
        zero_shot, tuned, split=split, prompt_key=settings.prompt_key, phrase=settings.phrase
    )
    images = report.pop("images")
    return report | {
        "selection": {"on": settings.select_on, "images": selected_on, "note": note},
        "training": {
            "images": trained_on,
            "epochs": progress.epoch,
            "best_epoch": progress.best_epoch,
            "steps": progress.steps,
            "seconds": round(progress.seconds, 1),
            "ended_by": progress.ended,
            "budget_seconds": budget,
            "attempts": [asdict(attempt) for attempt in attempts],
            "history": [asdict(record) for record in progress.history],
        },
        "images": images,
    }


def model_card(
    config: CheckpointConfig, report: dict[str, Any], *, dataset: str, settings: TuneSettings, learned: int
) -> str:
    """Content of ``README.md``."""
    labels = ", ".join(f'"{label}"' for label in config.labels[:10])
    labels += f" and {len(config.labels) - 10} more" if len(config.labels) > 10 else ""
    training, selection = report["training"], report["selection"]
    table = "\n".join(f"| {' | '.join(row)} |" for row in figures_table(report))
    start = f', started from "{settings.initial_phrase}"' if settings.initial_phrase else ""
    origin = config.data.get("warm_start")
    went_on = f", going on from {origin['checkpoint']}" if origin else ""
    empties = (
        f"{report['empty_truths']} of them hold nothing to find; there Dice is 1 for an empty mask, else 0.\n"
        if report["empty_truths"]
        else ""
    )
    return f"""# {dataset}: {config.strategy} prompts for {config.base.name}

**{NOTICE}** Masks may be wrong; a person must check every one.

A prompt checkpoint: {learned:,} learned numbers that steer the frozen model `{config.base.name}`
(weights `{config.base.digest}`), which is unchanged. Made by `tunevlseg tune` on {config.created:%Y-%m-%d}.

| what | value |
| --- | --- |
| strategy | {config.strategy}, depth {config.depth}, {config.n} tokens per layer{start}{went_on} |
| head | {config.head.value} |
| phrases | {labels} |
| trained on | {training["images"]} images, {training["epochs"]} epochs, best epoch {training["best_epoch"]} |
| optimiser | AdamW, rate {settings.rate:g}, decay {settings.weight_decay:g}, batch {settings.batch_size} |
| loss | 1.0 Dice + 0.2 cross-entropy |
| augmentation | {"slight affine moves and tone" if settings.augment else "none"} |
| seed | {config.seed} |
| training time | {training["seconds"] / 60:.1f} minutes |
{_tried(training)}
## How well it does

{report["n"]} images of split `{report["split"]}`, each at its own resolution, threshold {config.threshold:g}.
{empties}In brackets: 95 % interval by bootstrap over images.

| measure | zero-shot | tuned | difference |
| --- | --- | --- | --- |
{table}

{selection["note"]} Selection looked at {selection["images"]} images.
One run with one seed: the intervals say nothing about how another run would turn out.

`report.html` is a page with all of this; `eval.json` has every image's figures; `loss.png` and `dice.png`
show the run; `cases.png` shows the best and worst cases. These files hold the data they were made from: pass
them on only where you may pass on the data.

## Use

Meant for images like those it was tuned on, with the phrases above. Other kinds of image, other devices or
other phrases were not measured.
"""


def _tried(training: dict[str, Any]) -> str:
    """What was tried within the budget, as a section of the card; empty where there was none."""
    if not training["attempts"]:
        return ""
    rows = "\n".join(
        f"| {a['strategy']}{' (warm)' if a['warm'] else ''} | {a['outcome']} | "
        + ("" if a["dice"] is None else f"{a['dice']:.3f}")
        + f" | {a['steps']} | {a['seconds']:.0f} | {a['reason']} |"
        for a in training["attempts"]
    )
    return f"""
## What was tried

Within {training["budget_seconds"]:.0f} seconds; what had the highest Dice on the selection images was kept.

| strategy | outcome | selection Dice | steps | seconds | ended by |
| --- | --- | ---: | ---: | ---: | --- |
{rows}
"""
