"""``tunevlseg tune KEY=VALUE ...``: the same as ``python -m trainer KEY=VALUE ...``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import typer

from models_store.errors import BadInputError


def are_overrides(words: Sequence[str]) -> bool:
    """Whether a command's words are a configuration's ``KEY=VALUE``s and not one folder.

    Raises:
        BadInputError: They are neither.
    """
    if all("=" in word for word in words) and not (len(words) == 1 and Path(words[0]).exists()):
        return True
    if len(words) > 1:
        raise BadInputError(
            f"{' '.join(words)!r} is neither one folder nor KEY=VALUE words of a configuration, such as "
            "experiment=coop_clipseg data=busi"
        )
    return False


def run_overrides(context: typer.Context, words: Sequence[str]) -> NoReturn:
    """Become ``python -m trainer``, so that several devices and signals work as they do there.

    Raises:
        BadInputError: The command also has options, which a configuration says in its own words.
    """
    given = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name != "data"
        and (source := context.get_parameter_source(parameter.name or "")) is not None
        and source.name == "COMMANDLINE"
    ]
    if given:
        raise BadInputError(
            f"{', '.join(given)} cannot be given beside KEY=VALUE words; there, all of it has keys, "
            "such as trainer.max_epochs=20 data.batch_size=64 (python -m trainer --help lists them)"
        )
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-m", "trainer", *words])
