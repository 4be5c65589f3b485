"""How much a mask depends on the wording: the spread of Dice over ways of asking for the same thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from models_store.packs import PromptPack, decode_pack
from models_store.vlsm import FrozenVLSM
from trainer.data.examples import Counted, Examples
from trainer.encoded import FeatureSource
from trainer.evaluate import BATCH, THRESHOLD, batched_images, check_threshold, mask_at_own_size, truth_of
from trainer.metrics import overlap
from trainer.phrases import Phrases
from trainer.scores import bootstrap_interval

ASKED = "as asked"
EMPTY_KEY = "p0"
STOP = "."

Ways = Mapping[str, str]
"""Ways to ask for one row: the way's name and the words."""


def generic_ways(phrase: str) -> dict[str, str]:
    """Rewordings that mean the same of any phrase, by name."""
    bare = phrase.removesuffix(STOP)
    stop = bare if phrase.endswith(STOP) else f"{phrase}{STOP}"
    return {
        "the X": f"the {bare}",
        "X in the image": f"{bare} in the image",
        "a photo of a X": f"a photo of a {bare}",
        "X IN CAPITALS": phrase.upper(),
        "without full stop" if phrase.endswith(STOP) else "with full stop": stop,
    }


def ways_to_ask(
    examples: Examples, paraphrases: Mapping[str, Sequence[str]] | None = None
) -> list[dict[str, str]]:
    """Ways to ask for each row, the one in use first.

    Args:
        examples: The rows.
        paraphrases: For a phrase in use, other ways to say it; they are named by their words.
            Default: the other annotated prompts of the same image, named by their keys, and
            generic rewordings.
    """
    return [
        _distinct({ASKED: phrases[0]} | _others(phrases[0], item.prompts, paraphrases))
        for item, phrases in zip(examples.items, examples.phrases, strict=True)
    ]


def _others(
    phrase: str, prompts: Mapping[str, str | list[str]], paraphrases: Mapping[str, Sequence[str]] | None
) -> dict[str, str]:
    if paraphrases is not None:
        return {text: text for text in paraphrases.get(phrase, ())}
    annotated: dict[str, str] = {}
    for key in sorted(prompts.keys() - {EMPTY_KEY}):
        texts = prompts[key]
        for i, text in enumerate([texts] if isinstance(texts, str) else texts, start=1):
            annotated[key if i == 1 else f"{key} ({i})"] = text
    return annotated | generic_ways(phrase)


def _distinct(ways: dict[str, str]) -> dict[str, str]:
    """Ways without those that say nothing or what an earlier one says."""
    seen: set[str] = set()
    kept = {}
    for name, text in ways.items():
        if text.strip() and text not in seen:
            seen.add(text)
            kept[name] = text
    return kept


@dataclass(frozen=True)
class Sensitivity:
    """Dice of each row under each way of asking.

    Attributes:
        ways: The words of each row's ways, by name.
        dice: Dice of each row's ways, by name.
    """

    ways: tuple[Ways, ...]
    dice: tuple[Mapping[str, float], ...]

    def summary(self) -> dict[str, Any]:
        """Spread per image, averaged, and mean Dice per way, with bootstrap 95 % intervals.

        ``deviation`` is the standard deviation (over all ways, dividing by their number) and
        ``range`` the largest minus the smallest Dice of an image.
        """
        values = [np.asarray(list(row.values())) for row in self.dice]
        names = list(dict.fromkeys(name for row in self.ways for name in row))
        return {
            "deviation": asdict(bootstrap_interval([float(v.std()) for v in values])),
            "range": asdict(bootstrap_interval([float(np.ptp(v)) for v in values])),
            "paraphrases": [self._way(name) for name in names],
        }

    def _way(self, name: str) -> dict[str, Any]:
        found = [row[name] for row in self.dice if name in row]
        example = next(row[name] for row in self.ways if name in row)
        interval = bootstrap_interval(found)
        return {"label": name, "example": example, "n": interval.n, "dice": asdict(interval)}


@torch.inference_mode()
def prompt_sensitivity(
    vlsm: FrozenVLSM,
    pack: PromptPack,
    examples: Examples,
    ways: Sequence[Ways],
    *,
    device: torch.device,
    threshold: float = THRESHOLD,
    batch_size: int = BATCH,
    images: FeatureSource | None = None,
    progress: Counted | None = None,
) -> Sensitivity:
    """Measure a pack on every way of asking; each image is encoded once for all of them.

    Args:
        vlsm: The frozen model.
        pack: The pack; ``ZERO_SHOT`` for the model as it is.
        examples: The rows.
        ways: Ways to ask for each row, as :func:`ways_to_ask` gives them.
        device: Where the model is.
        threshold: Probability above which a pixel belongs to the mask.
        batch_size: Rows per forward pass.
        images: Where image features come from; default, they are encoded here.
        progress: Told how many rows are done.
    """
    check_threshold(threshold)
    texts = Phrases.under(vlsm, pack, [text for row in ways for text in row.values()])
    dice: list[dict[str, float]] = [{} for _ in ways]
    batches = batched_images(vlsm, pack, examples, device=device, batch_size=batch_size, images=images)
    for span, image in batches:
        for name in dict.fromkeys(name for row in span for name in ways[row]):
            rows = [row for row in span if name in ways[row]]
            asked = image.select(torch.tensor([row - span.start for row in rows], device=device))
            logits = decode_pack(
                vlsm, pack, asked, texts.features(pack, [ways[r][name] for r in rows], asked)
            )
            for at, row in enumerate(rows):
                mask = mask_at_own_size(logits[at : at + 1], examples.truths[row].shape, threshold)
                dice[row][name] = overlap(mask, *truth_of(examples, row)).dice
        if progress is not None:
            progress(span.stop, len(examples))
    return Sensitivity(tuple(ways), tuple(dice))


def sensitivity_report(sides: Mapping[str, Sensitivity]) -> dict[str, Any]:
    """The ``sensitivity`` part of a report, by side (``zero_shot``, ``tuned``)."""
    summaries = {side: result.summary() for side, result in sides.items()}
    return {"images": len(next(iter(sides.values())).dice)} | summaries
