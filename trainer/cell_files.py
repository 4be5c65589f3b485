"""Cells of an out folder: figures that are kept one file each, written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

from models_store.errors import DamagedError
from models_store.files import replace_file

CELLS = "cells"


class Named(Protocol):
    """A cell: what is measured together, under a name that changes with whatever decides its figures."""

    @property
    def name(self) -> str:
        """Its file's name, without ending."""


class CellFiles:
    """The cells of an out folder.

    Args:
        folder: The out folder; made where it is missing.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        (folder / CELLS).mkdir(parents=True, exist_ok=True)

    def read(self, cell: Named) -> dict[str, Any] | None:
        """What is known of a cell, or None.

        Raises:
            DamagedError: Its file does not parse.
        """
        path = self._path(cell)
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise DamagedError(f"{path} is not valid JSON; delete it to measure anew ({error})") from error
        return content

    def write(self, cell: Named, content: dict[str, Any]) -> None:
        """Record a cell, whole or not at all."""
        replace_file(self._path(cell), (json.dumps(content, indent=1) + "\n").encode())

    def _path(self, cell: Named) -> Path:
        return self.folder / CELLS / f"{cell.name}.json"
