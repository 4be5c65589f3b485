"""Measure for a report: zero-shot and a checkpoint on the same images, and both under other words."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from models_store.errors import BadInputError
from models_store.packs import ZERO_SHOT, PromptPack
from models_store.vlsm import FrozenVLSM
from trainer.comparison import comparison_report
from trainer.data.examples import Counted, Examples
from trainer.encoded import RememberedImages, usable
from trainer.evaluate import BATCH, THRESHOLD, evaluate_examples
from trainer.reports.plots import NAMES
from trainer.scores import Evaluation
from trainer.sensitivity import prompt_sensitivity, sensitivity_report, ways_to_ask

Told = Callable[[str, int], None]
"""Told what is measured and how many rows are done."""


@dataclass(frozen=True)
class Measured:
    """A report, and the evaluation of the pack whose cases it shows."""

    report: dict[str, Any]
    shown: Evaluation


def measure(
    vlsm: FrozenVLSM,
    pack: PromptPack | None,
    examples: Examples,
    *,
    device: torch.device,
    split: str = "val",
    prompt_key: str | None = "p1",
    phrase: str | None = None,
    threshold: float | None = None,
    batch_size: int = BATCH,
    sensitivity: bool = True,
    paraphrases: Mapping[str, Sequence[str]] | None = None,
    progress: Told | None = None,
) -> Measured:
    """A comparison report with, where wanted, its ``sensitivity`` part.

    Images are encoded once for zero-shot, every way of asking, and packs that leave images alone.

    Args:
        vlsm: The frozen model.
        pack: The checkpoint's pack; None measures zero-shot only.
        examples: The rows.
        device: Where the model is.
        split: The split they come from.
        prompt_key: The annotated prompt they are asked with.
        phrase: The one phrase they are all asked with, if there is one.
        threshold: Probability above which a pixel belongs to the mask; default 0.5.
        batch_size: Rows per forward pass.
        sensitivity: Whether to measure other ways of asking.
        paraphrases: As :func:`trainer.sensitivity.ways_to_ask` takes them.
        progress: Told how far it is.
    """
    threshold = THRESHOLD if threshold is None else threshold
    packs = {"zero_shot": ZERO_SHOT} | ({} if pack is None else {"tuned": pack})
    remembered = RememberedImages(vlsm, examples, device)
    results, asked = {}, {}
    ways = ways_to_ask(examples, paraphrases) if sensitivity else []
    for side, each in packs.items():
        options: dict[str, Any] = {
            "device": device,
            "threshold": threshold,
            "batch_size": batch_size,
            "images": usable(remembered, each),
        }
        tell = _counted(progress, f"measuring {NAMES[side]}")
        results[side] = evaluate_examples(vlsm, each, examples, progress=tell, **options)
        if sensitivity:
            tell = _counted(progress, f"other words, {NAMES[side]}")
            asked[side] = prompt_sensitivity(vlsm, each, examples, ways, progress=tell, **options)
    report = comparison_report(
        results["zero_shot"], results.get("tuned"), split=split, prompt_key=prompt_key, phrase=phrase
    )
    if asked:
        report["sensitivity"] = sensitivity_report(asked)
    return Measured(report, results.get("tuned", results["zero_shot"]))


def _counted(progress: Told | None, what: str) -> Counted | None:
    return None if progress is None else lambda done, _total: progress(what, done)


def read_paraphrases(path: Path) -> dict[str, list[str]]:
    """Other ways to ask from a JSON file, ``{"phrase": ["other words", ...]}``.

    Raises:
        BadInputError: The file does not read as that.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInputError(f"{path} is not a readable JSON file: {error}") from error
    if not isinstance(content, dict) or not all(
        isinstance(texts, list) and all(isinstance(text, str) and text.strip() for text in texts)
        for texts in content.values()
    ):
        raise BadInputError(f'{path} must hold {{"phrase": ["other words", ...]}}')
    return content
