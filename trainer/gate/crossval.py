"""Cross-validation inside the training part, for datasets with too few validation images.

What is judged is then the recipe: it is tuned again without each fold and measured on that fold.
The champion cannot be tuned again; it is measured only on images that it was not tuned on.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from models_store.digests import file_digest
from trainer.data.examples import Examples
from trainer.gate.measure import CANDIDATE, CHAMPION, UNTUNED, ZERO, Contender, Measure, Part, Told


class Recipe(Protocol):
    """The candidate's recipe, to be followed on part of its images."""

    def __call__(self, train: Examples, fold: int) -> Contender:
        """Tune anew on some rows; whatever is held out for selection is held out of these.

        Args:
            train: What may be looked at.
            fold: Which fold is kept away, from 0.
        """


@dataclass(frozen=True)
class TrainingPart:
    """What cross-validation works on.

    Attributes:
        examples: The rows that the candidate was tuned on.
        units: The independent unit of each row.
        recipe: Tunes anew.
        start_saw: Names or SHA-256 digests of images that what the recipe starts from was tuned on, in
            a warm start. They, and others of their units, are never measured on.
    """

    examples: Examples
    units: tuple[str, ...]
    recipe: Recipe
    start_saw: frozenset[str] = frozenset()


def seen_rows(examples: Examples, units: Sequence[str], seen: Collection[str]) -> set[int]:
    """The rows of units of which an image was seen: another image of the same patient is not new either.

    Args:
        examples: The rows.
        units: The unit of each.
        seen: Images, by the item's or file's name or the file's SHA-256.
    """
    if not seen:
        return set()
    known: dict[Path, bool] = {}
    found: set[str] = set()
    for row, item in enumerate(examples.items):
        path = item.image_path
        if path not in known:
            known[path] = path.name in seen or file_digest(path) in seen
        if known[path] or item.name in seen:
            found.add(units[row])
    return {row for row, unit in enumerate(units) if unit in found}


def fold_of_units(examples: Examples, units: Sequence[str], folds: int, *, seed: int) -> dict[str, int]:
    """The fold of each unit, drawn by the seed; units with and without something to find are spread evenly.

    Args:
        examples: The rows.
        units: The unit of each row.
        folds: How many; there are no more than units.
        seed: Draws them.
    """
    present: dict[str, bool] = {}
    for row, unit in enumerate(units):
        present[unit] = present.get(unit, False) or bool(examples.truths[row].unpack().any())
    names = list(present)
    drawn = [names[i] for i in np.random.default_rng([seed, 4]).permutation(len(names))]
    # A stable sort keeps the drawn order among units of a kind.
    dealt = sorted(drawn, key=lambda unit: present[unit])
    folds = min(folds, len(names))
    return {unit: at % folds for at, unit in enumerate(dealt)}


def cross_validate(
    training: TrainingPart,
    champion: Contender | None,
    champion_saw: frozenset[str] | None,
    *,
    measure: Measure,
    folds: int,
    seed: int,
    progress: Told | None = None,
) -> list[Part]:
    """Tune the recipe without each fold, and measure on the fold.

    Args:
        training: Rows, units and recipe.
        champion: The one in use, if any.
        champion_saw: Names or digests of the images it was tuned on. None: not known, so that it is
            measured on none of them.
        measure: Measures contenders on rows.
        folds: How many.
        seed: Draws the folds.
        progress: Told how many folds are tuned.

    Returns:
        Up to two parts per fold: with the champion, and without it where it was tuned on the images.
    """
    examples, units = training.examples, training.units
    fold_of = fold_of_units(examples, units, folds, seed=seed)
    leaked = seen_rows(examples, units, training.start_saw)
    fair: set[int] = set()
    if champion is not None and champion_saw is not None:
        fair = set(range(len(examples))) - seen_rows(examples, units, champion_saw)
    parts = []
    for fold in range(max(fold_of.values()) + 1):
        inside = [row for row in range(len(examples)) if fold_of[units[row]] != fold]
        held = [row for row in range(len(examples)) if fold_of[units[row]] == fold and row not in leaked]
        if not held or not inside:
            continue
        if progress is not None:
            progress(f"tuning without fold {fold + 1}", fold, max(fold_of.values()) + 1)
        without = {CANDIDATE: training.recipe(examples.select(inside), fold), ZERO: UNTUNED}
        with_champion = without if champion is None else without | {CHAMPION: champion}
        for rows, contenders in _split(held, fair, without, with_champion):
            chosen = examples.select(rows)
            parts.append(measure(contenders, chosen, [units[row] for row in rows], name=f"fold {fold + 1}"))
    return parts


def _split(
    held: Sequence[int],
    fair: set[int],
    without: Mapping[str, Contender],
    with_champion: Mapping[str, Contender],
) -> list[tuple[list[int], Mapping[str, Contender]]]:
    both = [row for row in held if row in fair]
    rest = [row for row in held if row not in fair]
    return [(rows, sides) for rows, sides in ((both, with_champion), (rest, without)) if rows]
