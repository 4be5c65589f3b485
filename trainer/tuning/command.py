"""The command that a run's settings amount to, so that anyone can make the same pack again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from typing import Any

from models_store.errors import BadInputError
from models_store.heads import HeadMode
from trainer.tuning.settings import TuneSettings

FLAGS = (
    "strategy",
    "depth",
    "n",
    "head",
    "initial_phrase",
    "lr",
    "weight_decay",
    "epochs",
    "min_epochs",
    "min_steps",
    "max_steps",
    "patience",
    "batch_size",
    "accumulate",
    "precision",
    "augment",
    "views",
    "joint",
    "seed",
    "prompt_key",
    "phrase",
    "stop",
    "format",
    "limit",
    "select_on",
)
# Flags whose negative is another word than --no-...
PAIRED = {
    "unified": ("--unified", "--per-depth"),
    "reference_depth": ("--reference-depth", "--plain-depth"),
    "pre_norm": ("--pre-norm", "--post-norm"),
}


def recorded_settings(settings: TuneSettings) -> dict[str, Any]:
    """The settings as JSON, for a checkpoint's configuration."""
    return asdict(settings)


def settings_from(recorded: Mapping[str, Any]) -> TuneSettings:
    """The inverse of :func:`recorded_settings`.

    Raises:
        BadInputError: They are those of another version of this program.
    """
    known = {each.name for each in fields(TuneSettings)}
    if unknown := sorted(recorded.keys() - known):
        raise BadInputError(
            f"the recorded settings hold {', '.join(unknown)}, which this version does not know"
        )
    head = recorded.get("head")
    return TuneSettings(**{**recorded, "head": None if head is None else HeadMode(head)})


def tune_command(
    settings: TuneSettings, folder: str, *, name: str, base: str, warm_start: str | None = None
) -> tuple[str, str]:
    """The ``tunevlseg tune`` command of settings, and what it cannot say.

    Args:
        settings: The settings.
        folder: The dataset's folder.
        name: The dataset's name in the registry.
        base: The base model's name.
        warm_start: The version whose values tuning started from, if one.

    Returns:
        The command, quoted for a shell, and a sentence on settings that have no flag, or nothing.
    """
    parts = ["tunevlseg", "tune", folder, "--name", name, "--base", base]
    parts += [] if warm_start is None else ["--warm-start", warm_start]
    unsaid = []
    for each in fields(settings):
        value = getattr(settings, each.name)
        if each.name == "options":
            for option, chosen in sorted(value.items()):
                parts += _flag(option, chosen)
        elif each.name == "strategy" or value != _default(each):
            if each.name in FLAGS:
                parts += _flag(each.name, value)
            else:
                unsaid.append(f"{each.name} {value!r}")
    note = f"These settings have no flag: {', '.join(unsaid)}." if unsaid else ""
    return shlex.join(parts), note


def _default(each: Any) -> Any:
    return None if each.default is MISSING else each.default


def _flag(name: str, value: Any) -> list[str]:
    flag = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        yes, no = PAIRED.get(name, (flag, f"--no-{flag[2:]}"))
        return [yes if value else no]
    if name == "hidden":
        widths = [value] if isinstance(value, int) else value
        return [flag, "none" if widths is None else ",".join(map(str, widths))]
    if isinstance(value, list | tuple):
        return [part for each in value for part in (flag, str(each))]
    return [flag, str(value)]
