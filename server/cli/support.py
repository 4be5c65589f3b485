"""What ``tune`` and ``evaluate`` share: the base model to work with, and the table of figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from rich.table import Table

    from models_store.vlsm import FrozenVLSM
    from server.settings import Settings


def open_base(settings: Settings, threads: int | None) -> tuple[FrozenVLSM, torch.device]:
    """Load the base model of the settings on their device, with so many processor threads."""
    import torch

    from models_store.bases import load_base
    from server.cli.common import pick_device

    if threads is not None:
        torch.set_num_threads(threads)
    device = pick_device(settings.device)
    return load_base(settings.base, device=device), torch.device(device)


def figures_console_table(title: str, rows: Sequence[Sequence[str]]) -> Table:
    """A table of measures: zero-shot and, where there is one, the checkpoint and their difference."""
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for heading in ("measure", "zero-shot", "tuned", "difference")[: len(rows[0])]:
        table.add_column(heading, justify="left" if heading == "measure" else "right")
    for row in rows:
        table.add_row(*row)
    return table
