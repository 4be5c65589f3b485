"""What the cells of one dataset say about each other: differences on the same images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.benchmark.plan import BASELINES, Cell
from trainer.benchmark.store import DONE
from trainer.scores import bootstrap_interval

Content = Mapping[str, Any]
Finished = list[tuple[Cell, Content]]

TEXT, VISUAL, MULTIMODAL, BASELINE = "text", "visual", "multimodal", "baseline"
KIND = {
    "coop": TEXT,
    "cocoop": TEXT,
    "vpt": VISUAL,
    "maple": MULTIMODAL,
    "shared_separate": MULTIMODAL,
    "shared_attention": MULTIMODAL,
}
# The questions the benchmark's paper answers: what is better than what.
QUESTIONS = ((VISUAL, MULTIMODAL), (VISUAL, TEXT), (MULTIMODAL, TEXT))


def kind_of(method: str) -> str:
    """Which side of the network a method's prompts enter; ``baseline`` for none."""
    return BASELINE if method in BASELINES else KIND[method]


def finished(contents: Sequence[tuple[Cell, Content | None]]) -> Finished:
    """The cells that have figures."""
    return [(cell, content) for cell, content in contents if content and content["status"] == DONE]


def best_of(cells: Finished) -> tuple[Cell, Content] | None:
    """The cell of the highest mean Dice; zero-shot counts like any other."""
    return max(cells, key=lambda found: mean_dice(found[1]), default=None)


def mean_dice(content: Content) -> float:
    """Mean Dice over the images."""
    value: float = content["figures"]["dice"]["mean"]
    return value


def overlapping(one: Content, other: Content) -> bool:
    """Whether the 95 % intervals of the mean Dice of two cells overlap."""
    a, b = one["figures"]["dice"], other["figures"]["dice"]
    return bool(a["low"] <= b["high"] and b["low"] <= a["high"])


def difference(one: Sequence[Content], other: Sequence[Content]) -> dict[str, Any]:
    """Mean Dice of one group minus another's per image, with a bootstrap 95 % interval.

    Args:
        one: Cells on the same images; of several, each image's mean counts.
        other: The same for what is taken off.

    Raises:
        ValueError: The cells are not all of the same images.
    """
    names = [[(row["name"], row["phrase"]) for row in content["images"]] for content in (*one, *other)]
    if any(found != names[0] for found in names):
        raise ValueError("cells on different images cannot be compared")
    return asdict(bootstrap_interval((_mean_per_image(one) - _mean_per_image(other)).tolist()))


def _mean_per_image(contents: Sequence[Content]) -> NDArray[np.float64]:
    return np.mean([[row["dice"] for row in content["images"]] for content in contents], axis=0)


def answers(cells: Finished, datasets: Sequence[str], bases: Sequence[str]) -> list[dict[str, Any]]:
    """Differences between kinds of prompt, for each base and dataset that has both kinds."""
    rows = []
    for base in bases:
        for better, worse in QUESTIONS:
            for dataset in datasets:
                sides = [
                    [c for cell, c in cells if at(cell, dataset, base) and kind_of(cell.method) == kind]
                    for kind in (better, worse)
                ]
                if all(sides):
                    rows.append(
                        {
                            "base": base,
                            "question": f"{better} minus {worse}",
                            "dataset": dataset,
                            "dice": difference(*sides),
                        }
                    )
    return rows


def at(cell: Cell, dataset: str, base: str) -> bool:
    """Whether a cell is of this dataset and base."""
    return (cell.dataset, cell.base) == (dataset, base)
