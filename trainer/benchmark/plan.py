"""Which cells a benchmark has, and what decides the figures in each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from models_store.errors import BadInputError, UnknownNameError
from models_store.strategies import STRATEGIES
from models_store.vlsm import VLSMSpec
from trainer.baselines import TUNED_BASELINES
from trainer.benchmark.configurations import MOST_TRIALS, configurations

FORMAT = 1
# An epoch of a small dataset repeats its images until it has as many steps.
LEAST_STEPS = 10
ZERO_SHOT_NAME = "zero-shot"
BASELINES = (ZERO_SHOT_NAME, *TUNED_BASELINES)
ALL, NONE = "all", "none"
AT = "@"
DIGITS = 12


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What is the same for every cell.

    Attributes:
        limit: Use only this many images of ``train``, drawn by the seed; None uses all.
        val_limit: Report on only this many images of ``val``, drawn by the seed; None uses all.
        epochs: Most epochs of a tuning run.
        patience: Epochs without a lower selection loss before a run stops.
        steps: Most steps of an epoch, so that datasets with several rows per image cost what others do; None
            goes through all rows.
        trials: Configurations tried per cell; the one with the best Dice on held-out training
            images is reported.
        batch_size: Images per step.
        augment: Whether to augment as the benchmark does.
        prompt_key: Which annotated prompt to tune and report on.
        threshold: Probability above which a pixel belongs to the mask.
        sensitivity_images: Images of ``val`` on which sensitivity to the wording is measured.
        seed: Seed of everything that is random.
    """

    limit: int | None = None
    val_limit: int | None = None
    epochs: int = 20
    patience: int = 12
    steps: int | None = None
    trials: int = 1
    batch_size: int = 8
    augment: bool = True
    prompt_key: str = "p1"
    threshold: float = 0.5
    sensitivity_images: int = 24
    seed: int = 12345

    def check(self) -> None:
        """Raise BadInputError for the first value outside what is accepted."""
        for name in ("epochs", "patience", "trials", "batch_size"):
            if getattr(self, name) < 1:
                raise BadInputError(f"{name} {getattr(self, name)} must be at least 1")
        if self.trials > MOST_TRIALS:
            raise BadInputError(f"trials {self.trials} is more than the {MOST_TRIALS} on the short list")
        if self.steps is not None and self.steps < LEAST_STEPS:
            raise BadInputError(f"steps {self.steps} must be at least {LEAST_STEPS}")
        for name in ("limit", "val_limit"):
            value = getattr(self, name)
            if value is not None and value < 2:
                raise BadInputError(f"{name} {value} must be at least 2")
        if self.sensitivity_images < 0:
            raise BadInputError(f"sensitivity_images {self.sensitivity_images} must not be negative")
        if not 0 <= self.threshold <= 1:
            raise BadInputError(f"threshold {self.threshold} is outside 0..1")


@dataclass(frozen=True)
class Cell:
    """One figure of the table to be: a method on a base on a dataset.

    Attributes:
        dataset: The name of its folder under the data root.
        base: The base model's name.
        method: A strategy or a baseline.
        digest: Twelve hexadecimal digits that change with whatever decides the figures.
    """

    dataset: str
    base: str
    method: str
    digest: str

    @property
    def name(self) -> str:
        """The cell's file name, without its ending."""
        return f"{self.dataset}-{self.base.replace('/', '_')}-{self.method}-{self.digest}"


def takes(spec: VLSMSpec, method: str) -> bool:
    """Whether a base can be paired with a method; a convolutional trunk takes no visual prompts."""
    return method in BASELINES or spec.takes_visual_prompts or not STRATEGIES[method].visual


def parse_combinations(asked: str, specs: Sequence[VLSMSpec]) -> list[tuple[str, str]]:
    """Pairs of strategy and base's name.

    Args:
        asked: ``all``, ``none``, or names separated by commas, each a strategy (on every base that takes
            it) or ``strategy@base``.
        specs: The bases of the benchmark.

    Raises:
        UnknownNameError: A strategy or base is not there.
        BadInputError: A strategy was asked for on a base that cannot take it.
    """
    by_name = {spec.name: spec for spec in specs}
    pairs: list[tuple[str, str]] = []
    words = {ALL: list(STRATEGIES), NONE: []}.get(asked, split_names(asked))
    for word in words:
        strategy, at, base = word.partition(AT)
        if strategy not in STRATEGIES:
            raise UnknownNameError(
                f"no strategy {strategy!r}; there are {ALL} and {', '.join(sorted(STRATEGIES))}"
            )
        if at and base not in by_name:
            raise UnknownNameError(f"no base {base!r} in this benchmark; it has {', '.join(by_name)}")
        chosen = [by_name[base]] if at else [spec for spec in specs if takes(spec, strategy)]
        for spec in chosen:
            if not takes(spec, strategy):
                raise BadInputError(f"{spec.name} takes no visual prompts, which {strategy} has")
            if (strategy, spec.name) not in pairs:
                pairs.append((strategy, spec.name))
    return pairs


def parse_baselines(asked: str) -> list[str]:
    """Names of baselines separated by commas; zero-shot always is one, as others are compared with it."""
    names = BASELINES if asked == ALL else split_names(asked)
    for name in names:
        if name not in BASELINES:
            raise UnknownNameError(f"no baseline {name!r}; there are {ALL} and {', '.join(BASELINES)}")
    return [name for name in BASELINES if name == ZERO_SHOT_NAME or name in names]


def split_names(asked: str) -> list[str]:
    """Names separated by commas."""
    return [name.strip() for name in asked.split(",") if name.strip()]


def plan_cells(
    *,
    root: Path,
    datasets: Sequence[str],
    specs: Sequence[VLSMSpec],
    combinations: Sequence[tuple[str, str]],
    baselines: Sequence[str],
    protocol: Protocol,
) -> list[Cell]:
    """All cells, those that share images and base next to each other, zero-shot first.

    Args:
        root: The folder the datasets lie in.
        datasets: Names of their folders.
        specs: The bases.
        combinations: Pairs of strategy and base's name.
        baselines: What the strategies are compared with.
        protocol: What is the same for all.

    Raises:
        UnknownNameError: There is no such dataset.
    """
    protocol.check()
    if not datasets or not specs:
        raise BadInputError("a benchmark needs at least one dataset and one base")
    for dataset in datasets:
        if not (root / dataset).is_dir():
            have = ", ".join(sorted(p.name for p in root.iterdir() if p.is_dir())) if root.is_dir() else ""
            raise UnknownNameError(f"no dataset {dataset!r} in {root}; it has {have or 'none'}")
    states = {dataset: folder_state(root / dataset) for dataset in datasets}
    cells = []
    for dataset in datasets:
        for spec in specs:
            strategies = [strategy for strategy, base in combinations if base == spec.name]
            for method in [*baselines, *strategies]:
                decided_by = {
                    "format": FORMAT,
                    "base": spec.digest,
                    "data": states[dataset],
                    "method": method,
                    "protocol": asdict(protocol),
                    "tries": [try_.row() for try_ in configurations(method)[: protocol.trials]],
                }
                cells.append(Cell(dataset, spec.name, method, _digest(decided_by)))
    return cells


def folder_state(folder: Path) -> str:
    """A digest of a folder's file names and sizes: quick, and enough to notice that data changed."""
    files = sorted((str(p.relative_to(folder)), p.stat().st_size) for p in folder.rglob("*") if p.is_file())
    return _digest(files)


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:DIGITS]
