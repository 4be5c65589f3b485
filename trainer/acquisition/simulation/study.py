"""A simulation over several datasets, from folders to table and chart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from models_store.files import replace_file
from models_store.vlsm import FrozenVLSM
from trainer.acquisition.simulation.bench import load_bench
from trainer.acquisition.simulation.chart import curves_chart
from trainer.acquisition.simulation.plan import Plan, Protocol, check_orders
from trainer.acquisition.simulation.run import Ended, Simulation
from trainer.acquisition.simulation.table import CHART, CSV, MARKDOWN, Results, cells_csv, markdown
from trainer.cell_files import CellFiles
from trainer.feature_cache import CacheBudget

# Each of pool and val; 300 images of the embedded base take about 1.2 GB.
BUDGET = CacheBudget(memory=4 << 30, disk=0)


def simulate(
    folders: Sequence[Path],
    out: Path,
    *,
    vlsm: FrozenVLSM,
    protocol: Protocol,
    orders: Sequence[str],
    seeds: Sequence[int],
    command: str,
    device: torch.device,
    ended: Ended | None = None,
) -> Results:
    """Measure what is not finished, dataset by dataset, then write table and chart.

    Args:
        folders: Dataset folders; their names are the datasets'.
        out: Where cells, table and chart go; finished cells found there are kept.
        vlsm: The frozen model, on ``device``.
        protocol: What is the same for every cell.
        orders: Which orders to compare.
        seeds: One curve of each order per seed.
        command: The command line, for the Markdown.
        device: Where the model is.
        ended: Told every cell, also those that were there.

    Raises:
        StudioError: Settings or folders cannot be used.
    """
    protocol.check()
    check_orders(orders)
    files = CellFiles(out)
    results = []
    for folder in folders:
        bench = load_bench(folder, vlsm, protocol, device=device, budget=BUDGET)
        plan = Plan(
            folder.resolve().name, protocol, vlsm.spec, tuple(orders), tuple(seeds), data=bench.digest
        )
        Simulation(plan, bench, files, ended).run()
        results.append((plan, {cell: files.read(cell) for cell in plan.cells()}))
    write_results(results, out, command=command)
    return results


def write_results(results: Results, out: Path, *, command: str) -> None:
    """Write the chart, the CSV and the Markdown."""
    for name, content in (
        (CHART, curves_chart(results)),
        (CSV, cells_csv(results).encode()),
        (MARKDOWN, markdown(results, command=command).encode()),
    ):
        replace_file(out / name, content)
