"""Training checkpoints of the benchmark's own code as versions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models_store.checkpoints import NewCheckpoint, read_config
from models_store.errors import DamagedError
from models_store.exchange import Imported
from models_store.reference import import_reference, reference_checkpoint
from models_store.registry import Reference, Registry
from models_store.vlsm import FrozenVLSM


def import_training_checkpoint(
    registry: Registry,
    path: Path,
    dataset: str,
    vlsm: FrozenVLSM,
    *,
    labels: list[str],
    threshold: float = 0.5,
    **told: Any,
) -> Imported:
    """Add what a training checkpoint learned to a dataset; the same a second time adds nothing.

    Args:
        registry: The registry.
        path: The file.
        dataset: The dataset.
        vlsm: The base model it was trained on.
        labels: The phrases it was trained on.
        threshold: Probability at which masks are cut.
        told: What the file does not say; see :func:`models_store.reference.import_reference`.

    Raises:
        StudioError: As :func:`models_store.reference.import_reference`, or the dataset's name is not
            acceptable.
    """
    imported = import_reference(path, vlsm, **told)
    new = reference_checkpoint(imported, vlsm, labels=labels, source=path.name, threshold=threshold)
    known = _already_there(registry, dataset, new)
    return Imported(known or registry.publish(dataset, new), known is None)


def _already_there(registry: Registry, dataset: str, new: NewCheckpoint) -> Reference | None:
    """The version that says all that the new one says, but for the time it was made."""
    if dataset not in registry.datasets():
        return None
    wanted = new.config.model_dump(exclude={"created"})
    for version in registry.versions(dataset):
        reference = Reference(dataset, version)
        try:
            same = read_config(registry.folder(reference)).model_dump(exclude={"created"}) == wanted
            if same:
                registry.read(reference)
                return reference
        except DamagedError:
            continue
    return None
