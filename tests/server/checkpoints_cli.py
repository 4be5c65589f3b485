"""``tunevlseg checkpoints`` on a data folder, as text and as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from models_store.registry import Registry
from server.cli.checkpoints import app


class Cli:
    """The commands on a data folder."""

    def __init__(self, data_dir: Path):
        self.data_dir = data_dir
        self.registry = Registry(data_dir / "registry")

    def text(self, *arguments: str) -> str:
        # A wide terminal, so that tables do not cut their cells.
        result = CliRunner().invoke(
            app, [*arguments, "--data-dir", str(self.data_dir)], env={"COLUMNS": "300"}
        )
        if result.exception is not None:
            raise result.exception
        return result.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self.text(*arguments, "--json"))
