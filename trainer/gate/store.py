"""Where decisions lie: beside a dataset's versions, which never change.

    <registry>/<dataset>/gates/v0002/gate.json
    <registry>/<dataset>/gates/v0002/report.html and the report's other files, where one was made

A version that is judged again, such as after another became champion, keeps the latest decision.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from models_store.errors import DamagedError
from models_store.files import replace_file
from models_store.registry import Reference, Registry
from trainer.gate.record import GateRecord

GATES, GATE = "gates", "gate.json"


def gate_folder(registry: Registry, reference: Reference) -> Path:
    """Where the decision on a version lies, whether or not there is one.

    Raises:
        UnknownNameError: There is no such version.
    """
    registry.folder(reference)
    return registry.root / reference.dataset / GATES / reference.version


def write_gate(registry: Registry, reference: Reference, record: GateRecord) -> Path:
    """Write the decision on a version, whole or not at all, and return its file."""
    folder = gate_folder(registry, reference)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / GATE
    replace_file(path, gate_json(record).encode())
    return path


def read_gate(registry: Registry, reference: Reference) -> GateRecord | None:
    """The latest decision on a version; None where there is none.

    Raises:
        UnknownNameError: There is no such version.
        DamagedError: The file does not read as a decision.
    """
    path = gate_folder(registry, reference) / GATE
    try:
        return GateRecord.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise DamagedError(f"{path} is not a decision of the gate: {error}") from error


def gate_json(record: GateRecord) -> str:
    """The record as the text of its file."""
    return record.model_dump_json(indent=2) + "\n"
