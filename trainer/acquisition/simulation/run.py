"""Work through the cells of a simulation; finished ones are kept, so that it goes on after a stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from models_store.packs import ZERO_SHOT, PromptPack
from trainer.acquisition.simulation.bench import Bench
from trainer.acquisition.simulation.plan import Cell, Plan
from trainer.acquisition.suggest import suggest
from trainer.cell_files import CellFiles

Content = dict[str, Any]
Ended = Callable[[Cell, bool, Content], None]
"""Told a cell, whether it was there before, and its content."""


@dataclass
class Simulation:
    """The cells of one dataset.

    Attributes:
        plan: Which they are.
        bench: The dataset.
        files: Where they are kept.
        ended: Whom to tell.
    """

    plan: Plan
    bench: Bench
    files: CellFiles
    ended: Ended | None = None
    _packs: dict[tuple[int, tuple[int, ...]], PromptPack] = field(default_factory=dict, init=False)
    _told: set[Cell] = field(default_factory=set, init=False)

    def run(self) -> None:
        """Measure what is not finished."""
        self._done(self.plan.zero_shot(), [])
        for seed in self.plan.seeds:
            self._packs.clear()
            self._done(self.plan.whole_pool(seed), self.bench.start(self.bench.images, seed))
            for order in self.plan.orders:
                self._curve(order, seed)

    def _curve(self, order: str, seed: int) -> None:
        earlier: list[int] = []
        labels: list[int] = []
        for cell in self.plan.curve(order, seed):
            if self.files.read(cell) is None:
                content = self._done(cell, self._more(order, cell, labels, earlier))
            else:
                content = self._done(cell, [])
            earlier, labels = labels, content["labelled"]

    def _more(self, order: str, cell: Cell, labels: Sequence[int], earlier: Sequence[int]) -> list[int]:
        """The labels, and those the order asks for until there are as many as the cell has."""
        if not labels:
            return self.bench.start(cell.labels, cell.seed)
        candidates = self.bench.candidates(
            labels, now=self._pack(labels, cell.seed), before=self._pack(earlier, cell.seed)
        )
        # Random draws anew at every size.
        drawn = cell.seed * 1000 + len(labels)
        chosen = suggest(candidates, order, limit=cell.labels - len(labels), seed=drawn)
        left = self.bench.left(labels)
        return [*labels, *(left[suggestion.index] for suggestion in chosen)]

    def _pack(self, labels: Sequence[int], seed: int) -> PromptPack:
        """The checkpoint of some labels; tuned again, to the same values, where it is not in memory."""
        if not labels:
            return ZERO_SHOT
        key = (seed, tuple(labels))
        if key not in self._packs:
            self._packs[key] = self.bench.tuned(labels, seed)
        return self._packs[key]

    def _done(self, cell: Cell, labels: Sequence[int]) -> Content:
        """What a cell came to; measured with these labels if it was not before."""
        content = self.files.read(cell)
        kept = content is not None
        if content is None:
            content = self._measured(cell, labels)
            self.files.write(cell, content)
        if self.ended is not None and cell not in self._told:
            self.ended(cell, kept, content)
        self._told.add(cell)
        return content

    def _measured(self, cell: Cell, labels: Sequence[int]) -> Content:
        started = time.monotonic()
        evaluation = self.bench.measured(self._pack(labels, cell.seed))
        return {
            "dataset": cell.dataset,
            "order": cell.order,
            "labels": cell.labels,
            "seed": cell.seed,
            "dice": sum(evaluation.dice) / len(evaluation.dice),
            "labelled": list(labels),
            "names": [self.bench.name(image) for image in labels],
            "images": [{"name": s.name, "dice": s.counts.dice} for s in evaluation.scores],
            "seconds": time.monotonic() - started,
        }
