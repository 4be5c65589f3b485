"""The pretraining recipe, read from its TOML file."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models_store.errors import UnknownNameError

RECIPES = Path(__file__).parent
DEFAULT_RECIPE = RECIPES / "clipseg-tiny-med.toml"


@dataclass(frozen=True)
class DatasetRow:
    """One dataset of the recipe; ``polish_weight`` None keeps the weight."""

    folder: str
    weight: float
    flips: str
    zoom: tuple[float, float]
    phrases: tuple[str, ...]
    leave_out: frozenset[str] = frozenset()
    polish_weight: float | None = None


@dataclass(frozen=True)
class Schedule:
    """How long, how fast and at which sizes."""

    batch: int
    steps: int
    warmup: int
    decay: float
    polish_steps: int
    polish_rate: float
    polish_warmup: int
    positive_weight: float
    polish_positive_weight: float
    sizes: tuple[int, ...]
    decay_sizes: tuple[int, ...]
    decay_batch: int
    rate: float
    stem_rate: float
    weight_decay: float
    clip: float
    ema: float
    curated_from: int
    curated_ema: float
    pairs_from: int
    lookalikes_from: int

    @property
    def decay_start(self) -> int:
        return round(self.steps * (1 - self.decay))

    @property
    def last_step(self) -> int:
        """Where the polish ends."""
        return self.steps + self.polish_steps

    def factor(self, step: int) -> float:
        """Learning-rate factor: warm-up, constant, decay to 1 %; then the polish, up and down. All linear."""
        if step >= self.steps:
            into = step - self.steps
            up = (into + 1) / self.polish_warmup
            down = (self.last_step - step) / max(self.polish_steps - self.polish_warmup, 1)
            return max(self.polish_rate * min(up, down), 0.01)
        if step < self.warmup:
            return (step + 1) / self.warmup
        if step < self.decay_start:
            return 1.0
        left = (self.steps - step) / max(self.steps - self.decay_start, 1)
        return max(left, 0.01)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights, given the data."""

    name: str
    family: str
    about: str
    seed: int
    network: dict[str, Any]
    schedule: Schedule
    mix: dict[str, float]
    lookalike_share: float
    lookalike_folder: str
    datasets: tuple[DatasetRow, ...]
    absent_train: tuple[str, ...]
    absent_held_out: tuple[str, ...]


def find_recipe(name: str) -> Path:
    """The file of a recipe that comes with the package, or one of the user's own.

    Raises:
        UnknownNameError: It is neither.
    """
    known = {path.stem: path for path in RECIPES.glob("*.toml")}
    path = known.get(name, Path(name))
    if not path.is_file():
        raise UnknownNameError(f"no recipe {name!r}; there are {', '.join(sorted(known))}, or a file")
    return path


def read_recipe(path: Path = DEFAULT_RECIPE) -> Recipe:
    """Read a recipe file."""
    raw = tomllib.loads(path.read_text(encoding="utf-8"))
    schedule: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in raw["schedule"].items()}
    rows = (
        DatasetRow(
            folder=r["folder"],
            weight=r["weight"],
            flips=r["flips"],
            zoom=(r["zoom"][0], r["zoom"][1]),
            phrases=tuple(r["phrases"]),
            leave_out=frozenset(r.get("leave_out", ())),
            polish_weight=r.get("polish_weight"),
        )
        for r in raw["datasets"]
    )
    return Recipe(
        name=raw["name"],
        family=raw["family"],
        about=raw["about"].strip(),
        seed=raw["seed"],
        network=raw["network"],
        schedule=Schedule(**schedule),
        mix=raw["mix"],
        lookalike_share=raw["lookalikes"]["share"],
        lookalike_folder=raw["lookalikes"]["folder"],
        datasets=tuple(rows),
        absent_train=tuple(raw["absent_things"]["train"]),
        absent_held_out=tuple(raw["absent_things"]["held_out"]),
    )
