"""A small benchmark on toy data, and made-up cells for its tables."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from toy_data import write_toy

from trainer.benchmark.plan import Cell, Protocol, parse_combinations, plan_cells
from trainer.benchmark.run import Benchmark, BenchmarkWatch
from trainer.benchmark.store import CellStore
from trainer.metrics import Overlap
from trainer.scores import Evaluation, ImageScore, paired_difference

CPU = torch.device("cpu")
SHORT = Protocol(epochs=1, batch_size=4, sensitivity_images=2, augment=False, seed=7)
COMMAND = "tunevlseg benchmark --data 'my data'"


def write_root(root: Path, names=("one",)) -> Path:
    """A data root with toy datasets."""
    for seed, name in enumerate(names):
        write_toy(root / name, train=6, val=3, seed=seed)
    return root


def small_benchmark(
    root: Path,
    out: Path,
    bases,
    *,
    datasets=("one",),
    combinations="vpt",
    baselines=("zero-shot",),
    protocol=SHORT,
    watch=None,
) -> Benchmark:
    specs = [base.spec for base in bases]
    cells = plan_cells(
        root=root,
        datasets=datasets,
        specs=specs,
        combinations=parse_combinations(combinations, specs),
        baselines=baselines,
        protocol=protocol,
    )
    return Benchmark(
        root=root,
        cells=cells,
        bases={base.spec.name: base for base in bases},
        protocol=protocol,
        store=CellStore(out),
        device=CPU,
        command=COMMAND,
        watch=watch or BenchmarkWatch(),
    )


def without_clock(content):
    """A cell's content but for how long things took."""
    if isinstance(content, dict):
        return {k: without_clock(v) for k, v in content.items() if not k.endswith("seconds")}
    return [without_clock(v) for v in content] if isinstance(content, list) else content


def made_up(dice, method="vpt", dataset="one", base="b"):
    """A finished cell whose images have these Dice, of hundredths."""
    scores = tuple(
        ImageScore(f"i{i}", "thing", Overlap(round(100 * d), 100, 100), 3.0) for i, d in enumerate(dice)
    )
    result = Evaluation(scores, 0.5)
    zero = Evaluation(tuple(ImageScore(s.name, s.phrase, Overlap(0, 100, 100), 3.0) for s in scores), 0.5)
    tuned = method != "zero-shot"
    content = {
        "status": "done",
        "method": method,
        "learnable": 1234 if tuned else 0,
        "figures": result.summary(),
        "images": result.rows(),
        "difference": paired_difference(zero, result) if tuned else None,
        "sensitivity": None,
        "images_used": {"train": 5, "select": 1, "val": len(scores), "val_rows": len(scores)},
        "data_warnings": [],
        "seconds": 90.0,
        "seed": 7,
        "chosen": {"epochs": 3, "configuration": {"lr": 0.01, "weight_decay": 1e-4}} if tuned else None,
    }
    return Cell(dataset, base, method, "0" * 12), content


def damage(folder: Path) -> Path:
    """Make a dataset unusable; returns what restores it when put back."""
    annotations = folder / "anns" / "val.json"
    kept = annotations.with_suffix(".kept")
    shutil.copy(annotations, kept)
    # The same size, so that nothing but reading tells.
    annotations.write_text("x" * annotations.stat().st_size)
    return kept
