"""What the dataset and checkpoint menus offer, and what a choice means to the API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

ANY_DATASET = ""
ZERO_SHOT = ""

# The menus' values say which form field of the API they fill.
_CHAMPION = "dataset:"
_VERSION = "checkpoint:"

Choice = tuple[str, str]


@dataclass(frozen=True)
class Menu:
    """Entries of the checkpoint menu.

    Attributes:
        choices: (label, value) pairs, zero-shot first.
        preferred: The dataset's champion where it is usable, else zero-shot.
        note: What was left out and why; empty when nothing was.
    """

    choices: list[Choice]
    preferred: str
    note: str


def dataset_choices(datasets: list[dict[str, Any]]) -> list[Choice]:
    """Entries of the dataset menu from ``GET /datasets``."""
    return [("Any dataset", ANY_DATASET), *((d["name"], d["name"]) for d in datasets)]


def checkpoint_menu(dataset: str, datasets: list[dict[str, Any]], checkpoints: list[dict[str, Any]]) -> Menu:
    """Entries of the checkpoint menu for one dataset, or for all of them.

    Args:
        dataset: Name of a dataset, or ``ANY_DATASET``.
        datasets: Answer of ``GET /datasets``.
        checkpoints: Answer of ``GET /checkpoints``.
    """
    shown = [c for c in checkpoints if dataset in (ANY_DATASET, c["dataset"])]
    usable = {c["reference"]: c for c in shown if c["usable"]}
    choices: list[Choice] = [("Zero-shot (no checkpoint)", ZERO_SHOT)]
    preferred = ZERO_SHOT
    for entry in datasets:
        name, champion = entry["name"], entry.get("champion")
        if champion and f"{name}/{champion}" in usable:
            choices.append((f"{name} · champion ({champion})", _CHAMPION + name))
            if name == dataset:
                preferred = _CHAMPION + name
    choices += [(_label(c), _VERSION + reference) for reference, c in usable.items()]
    return Menu(choices, preferred, _left_out([c for c in shown if not c["usable"]]))


def request_fields(value: str) -> dict[str, str]:
    """Form fields of ``POST /segment`` that a menu value stands for.

    The champion is asked for by its dataset, so that a moved alias counts at the next request.
    """
    if value.startswith(_CHAMPION):
        return {"dataset": value.removeprefix(_CHAMPION)}
    if value.startswith(_VERSION):
        return {"checkpoint": value.removeprefix(_VERSION)}
    return {}


def tuned_for(value: str, datasets: list[dict[str, Any]], checkpoints: list[dict[str, Any]]) -> list[str]:
    """Phrases the chosen checkpoint was tuned on; empty for zero-shot."""
    fields = request_fields(value)
    if "dataset" in fields:
        champions = {d["name"]: f"{d['name']}/{d.get('champion')}" for d in datasets}
        reference = champions.get(fields["dataset"], "")
    else:
        reference = fields.get("checkpoint", "")
    return next((list(c.get("labels") or []) for c in checkpoints if c["reference"] == reference), [])


def _label(checkpoint: dict[str, Any]) -> str:
    parts = [checkpoint["reference"], str(checkpoint.get("strategy") or "")]
    if checkpoint.get("depth"):
        parts.append(f"depth {checkpoint['depth']}")
    parts += [a for a in checkpoint.get("aliases", []) if a != "champion"]
    return " · ".join(p for p in parts if p)


def _left_out(unusable: list[dict[str, Any]]) -> str:
    if not unusable:
        return ""
    references = ", ".join(c["reference"] for c in unusable[:3])
    more = f" and {len(unusable) - 3} more" if len(unusable) > 3 else ""
    return f"Not usable with this base model or damaged: {references}{more}."
