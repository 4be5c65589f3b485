"""The table of figures that ``tune`` and ``evaluate`` print."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


def figures_console_table(title: str, rows: Sequence[Sequence[str]]) -> Table:
    """A table of measures: zero-shot and, where there is one, the checkpoint and their difference."""
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for heading in ("measure", "zero-shot", "tuned", "difference")[: len(rows[0])]:
        table.add_column(heading, justify="left" if heading == "measure" else "right")
    for row in rows:
        table.add_row(*row)
    return table
