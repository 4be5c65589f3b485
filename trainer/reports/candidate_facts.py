"""What a candidate's report is told beside the gate's measurements, and what changed against the champion."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from models_store.checkpoints import WEIGHTS, Checkpoint
from trainer.gate.measure import SIDES, Part
from trainer.tuning.command import tune_command
from trainer.tuning.settings import TuneSettings

# They differ between any two versions and say nothing of why.
NOT_SETTINGS = ("created", "pack_digest", "format", "presence")


@dataclass(frozen=True)
class CandidateFacts:
    """Plain facts of a candidate.

    Attributes:
        title: The heading.
        configuration: The candidate's ``adapter_config.json``.
        champion_configuration: The champion's, if there is one.
        evaluation: The candidate's ``eval.json``, for its curves.
        data: What it was tuned on, in rows of a table: the revision's digest, counts, splits.
        command: The command that makes the same pack again; None where it is not known.
        command_note: What else that takes.
        costs: Time and cost, in rows of a table.
    """

    title: str
    configuration: Mapping[str, Any]
    champion_configuration: Mapping[str, Any] | None = None
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    command: str | None = None
    command_note: str = ""
    costs: Mapping[str, str] = field(default_factory=dict)


def changes(candidate: Mapping[str, Any], champion: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Rows of what, champion and candidate, for every setting that differs between two configurations."""
    after, before = _flat(candidate), _flat(champion)
    rows = []
    for name in dict.fromkeys([*after, *before]):
        old, new = (side.get(name, "not stated") for side in (before, after))
        if old != new:
            rows.append((name, old, new))
    return rows


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in values.items():
        if not prefix and name in NOT_SETTINGS:
            continue
        if isinstance(value, Mapping) and value:
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = (
                value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            )
    return found


def facts_of(
    candidate: Checkpoint,
    champion: Checkpoint | None,
    *,
    title: str,
    settings: TuneSettings | None,
    folder: str,
    dataset: str,
    costs: Mapping[str, str],
) -> CandidateFacts:
    """What checkpoints say of themselves.

    Args:
        candidate: The candidate.
        champion: The champion, if there is one.
        title: The heading.
        settings: What the candidate was tuned by, where that is known.
        folder: The dataset's folder, as the command is to name it.
        dataset: The dataset's name in the registry.
        costs: Further times and costs.
    """
    config, training = candidate.config, candidate.evaluation.get("training", {})
    command, note = None, ""
    if settings is not None:
        start = (config.data.get("warm_start") or {}).get("checkpoint")
        command, note = tune_command(settings, folder, name=dataset, base=config.base.name, warm_start=start)
    learned = sum(tensor.numel() for tensor in candidate.learner.values())
    size = sum(path.stat().st_size for path in candidate.folder.iterdir() if path.name == WEIGHTS)
    known = {"learned numbers": f"{learned:,}", "weights on disk": f"{size:,} bytes"}
    if "seconds" in training:
        known["tuning"] = f"{training['seconds']:.0f} s, {training['epochs']} epochs"
    return CandidateFacts(
        title=title,
        configuration=config.model_dump(mode="json"),
        champion_configuration=None if champion is None else champion.config.model_dump(mode="json"),
        evaluation=candidate.evaluation,
        data=_data_rows(config.data),
        command=command,
        command_note=note,
        costs=known | dict(costs),
    )


def _data_rows(data: Mapping[str, Any]) -> dict[str, str]:
    train, selection, val = (data.get(part, {}) for part in ("train", "selection", "val"))
    rows = {
        "dataset": data.get("dataset"),
        "revision": data.get("revision"),
        "rows trained on": train.get("images"),
        "rows that chose the epoch": selection.get("images"),
        "taken from": selection.get("on"),
        "rows of val": val.get("images"),
        "warnings": "; ".join(data.get("warnings", [])) or None,
    }
    return {name: str(value) for name, value in rows.items() if value is not None}


def gate_costs(parts: Sequence[Part]) -> dict[str, str]:
    """Time that each contender's masks took, for a row; other wordings do not count."""
    costs = {}
    for side in SIDES:
        results = [part.results[side] for part in parts if side in part.results]
        rows = sum(len(result.scores) for result in results)
        if rows:
            seconds = sum(result.seconds for result in results)
            costs[f"measuring, {side.replace('_', '-')}"] = (
                f"{seconds:.1f} s, {1000 * seconds / rows:.0f} ms a row"
            )
    return costs
