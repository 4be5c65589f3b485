"""From a finished run to a version in the registry, with its aliases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from models_store.checkpoints import NewCheckpoint, read_config
from models_store.registry import CANDIDATE, CHAMPION, Reference, Registry

AUTHOR = "tunevlseg tune"
Aliases = Literal["auto", "candidate", "none"]


@dataclass(frozen=True)
class Published:
    """A version, and whether it became the champion."""

    reference: Reference
    champion: bool


def publish(
    registry: Registry,
    dataset: str,
    new: NewCheckpoint,
    *,
    run: str,
    aliases: Aliases = "auto",
) -> Published:
    """Publish a version and move aliases.

    A run that was killed after publishing finds its own version and only moves aliases.

    Args:
        registry: Where to.
        dataset: The dataset.
        new: The version.
        run: Identity of the run.
        aliases: ``auto``: ``candidate`` moves to it, and ``champion`` where there is none yet;
            ``candidate``: only that one; ``none``: no alias, which is left to whoever judges it.
    """
    reference = _already_published(registry, dataset, new, run) or registry.publish(dataset, new)
    champion = registry.aliases(dataset).get(CHAMPION)
    if aliases == "none":
        return Published(reference, champion == reference.version)
    registry.move_alias(reference, CANDIDATE, author=AUTHOR, reason="newest tuning run")
    if aliases == "auto" and champion is None:
        registry.move_alias(reference, CHAMPION, author=AUTHOR, reason="first version of the dataset")
        champion = reference.version
    return Published(reference, champion == reference.version)


def _already_published(registry: Registry, dataset: str, new: NewCheckpoint, run: str) -> Reference | None:
    """The newest version, if an earlier session of this same run wrote it and then died."""
    if dataset not in registry.datasets():
        return None
    reference = Reference(dataset, registry.versions(dataset)[-1])
    config = read_config(registry.folder(reference))
    same = config.data.get("run") == run and config.pack_digest == new.config.pack_digest
    aliased = registry.aliases(dataset).get(CANDIDATE) == reference.version
    return reference if same and not aliased else None
