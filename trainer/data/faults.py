"""Refusing data, with a list of what is wrong."""

from __future__ import annotations

from collections.abc import Sequence

from models_store.errors import BadInputError

SHOWN = 20


class UnusableDataError(BadInputError):
    """Labelled data that cannot be right.

    Attributes:
        faults: Everything that is wrong, a line each; the message shows the first 20.
    """

    def __init__(self, headline: str, faults: Sequence[str]):
        self.faults = tuple(faults)
        shown = "\n  ".join(faults[:SHOWN])
        more = f"\n  and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        super().__init__(f"{headline}:\n  {shown}{more}")
