"""Measure several contenders on the same rows, once, for everything the gate and its report ask."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from models_store.identity import PresenceCut
from models_store.packs import ZERO_SHOT, PromptPack
from models_store.preprocess import to_image_size
from models_store.presence import presence_of
from models_store.vlsm import FrozenVLSM
from trainer.data.examples import Examples
from trainer.encoded import RememberedImages, usable
from trainer.evaluate import BATCH, THRESHOLD, batched_logits, check_threshold, score_of, truth_of
from trainer.gate.reliability import PixelReliability
from trainer.scores import ImageScore
from trainer.sensitivity import Sensitivity, prompt_sensitivity, ways_to_ask

CANDIDATE, CHAMPION, ZERO = "candidate", "champion", "zero_shot"
SIDES = (CANDIDATE, CHAMPION, ZERO)

Told = Callable[[str, int, int], None]
"""Told what is measured, how many rows are done, and of how many."""


@dataclass(frozen=True)
class Contender:
    """A pack as it is served: with its own threshold and absent decision."""

    pack: PromptPack
    threshold: float = THRESHOLD
    presence: PresenceCut | None = None


UNTUNED = Contender(ZERO_SHOT)


@dataclass(frozen=True)
class SideResult:
    """What one contender did on N rows.

    Attributes:
        scores: Per row.
        marked: Share of each row's counted pixels that its mask takes.
        confidence: Mean probability inside each mask, as served; None for an empty one.
        presence: Score of presence, per row.
        pixels: How far pixel probabilities are from frequencies; each image counts alike.
        sensitivity: Dice under other wordings, where that was asked for.
        seconds: Time for the masks, without that for other wordings.
    """

    scores: tuple[ImageScore, ...]
    marked: tuple[float, ...]
    confidence: tuple[float | None, ...]
    presence: tuple[float, ...]
    pixels: PixelReliability
    sensitivity: Sensitivity | None
    seconds: float


@dataclass(frozen=True)
class Part:
    """Rows on which the same contenders were measured: a split, or a fold.

    Attributes:
        examples: The rows.
        units: The independent unit of each row.
        contenders: By side; ``champion`` is absent where it was not to be measured.
        results: By side, in the order of the rows.
        name: ``val``, or which fold.
    """

    examples: Examples
    units: tuple[str, ...]
    contenders: Mapping[str, Contender]
    results: Mapping[str, SideResult]
    name: str = "val"


class Measure(Protocol):
    """:func:`measure_part` with everything set that is the same for all parts."""

    def __call__(
        self, contenders: Mapping[str, Contender], examples: Examples, units: Sequence[str], *, name: str
    ) -> Part:
        """Measure contenders on the same rows."""


@dataclass
class _Collected:
    scores: list[ImageScore] = field(default_factory=list)
    marked: list[float] = field(default_factory=list)
    confidence: list[float | None] = field(default_factory=list)
    presence: list[float] = field(default_factory=list)
    pixels: PixelReliability = field(default_factory=PixelReliability)


def units_of(examples: Examples, groups: Sequence[str] | None) -> tuple[str, ...]:
    """The independent unit of each row: its group, or where none are known its image.

    Raises:
        ValueError: There is not one group per row, or rows of one image are of several groups.
    """
    if groups is None:
        return tuple(f"image {at}" for at in examples.images.at.tolist())
    if len(groups) != len(examples):
        raise ValueError(f"{len(groups)} groups for {len(examples)} rows")
    for rows in examples.rows_by_image():
        if len({groups[row] for row in rows}) > 1:
            raise ValueError(f"{examples.items[rows[0]].name}: its rows are of several groups")
    return tuple(groups)


def measure_part(
    vlsm: FrozenVLSM,
    contenders: Mapping[str, Contender],
    examples: Examples,
    units: Sequence[str],
    *,
    device: torch.device,
    name: str = "val",
    batch_size: int = BATCH,
    sensitivity: bool = False,
    progress: Told | None = None,
) -> Part:
    """Measure contenders on the same rows; images they leave alone are encoded once for all.

    Args:
        vlsm: The frozen model.
        contenders: By side.
        examples: The rows, of which no contender may have been tuned on any.
        units: The independent unit of each row.
        device: Where the model is.
        name: What the rows are.
        batch_size: Rows per forward pass.
        sensitivity: Whether to measure other wordings too.
        progress: Told how far it is.
    """
    remembered = RememberedImages(vlsm, examples, device)
    ways = ways_to_ask(examples) if sensitivity else []
    results = {}
    for side, contender in contenders.items():
        options: dict[str, Any] = {"device": device, "batch_size": batch_size}
        options["images"] = usable(remembered, contender.pack)
        results[side] = _measure(vlsm, contender, examples, ways, f"{name}, {side}", progress, options)
    return Part(examples, tuple(units), dict(contenders), results, name)


def _measure(
    vlsm: FrozenVLSM,
    contender: Contender,
    examples: Examples,
    ways: Sequence[Mapping[str, str]],
    what: str,
    progress: Told | None,
    options: dict[str, Any],
) -> SideResult:
    check_threshold(contender.threshold)
    contender.pack.check_fits(vlsm.spec)

    def tell(done: int, total: int) -> None:
        if progress is not None:
            progress(what, done, total)

    started = time.perf_counter()
    found = _masks(vlsm, contender, examples, tell, options)
    seconds = time.perf_counter() - started
    asked = None
    if ways:
        asked = prompt_sensitivity(
            vlsm,
            contender.pack,
            examples,
            ways,
            threshold=contender.threshold,
            progress=lambda done, total: (
                None if progress is None else progress(f"{what}, other words", done, total)
            ),
            **options,
        )
    return SideResult(
        tuple(found.scores),
        tuple(found.marked),
        tuple(found.confidence),
        tuple(found.presence),
        found.pixels,
        asked,
        seconds,
    )


@torch.inference_mode()
def _masks(
    vlsm: FrozenVLSM,
    contender: Contender,
    examples: Examples,
    tell: Callable[[int, int], None],
    options: dict[str, Any],
) -> _Collected:
    found = _Collected()
    for span, logits in batched_logits(vlsm, contender.pack, examples, **options):
        found.presence += presence_of(logits).cpu().tolist()
        for at, row in enumerate(span):
            truth, ignored = truth_of(examples, row)
            probability = to_image_size(logits[at : at + 1], *truth.shape)[0].cpu().numpy()
            mask = probability > contender.threshold
            score = score_of(examples, row, mask)
            pixels = truth.size if ignored is None else int((~ignored).sum())
            found.scores.append(score)
            found.marked.append(score.counts.predicted / pixels if pixels else 0.0)
            found.confidence.append(float(probability.mean(where=mask, dtype="f8")) if mask.any() else None)
            found.pixels.add(probability, truth, ignored)
        tell(span.stop, len(examples))
    return found
