"""Taking a version out of the registry, whole or not at all."""

from __future__ import annotations

import os
import shutil

from models_store.errors import BadInputError
from models_store.files import ASIDE_PREFIX, locked, sync_folder
from models_store.registry import Reference, Registry


def remove_version(registry: Registry, reference: Reference) -> None:
    """Remove a version that no alias means.

    The newest version stays, because the next one is numbered after it and no number may come to
    mean another checkpoint.

    Raises:
        UnknownNameError: There is no such version.
        BadInputError: An alias means it, or it is the newest.
    """
    path = registry.folder(reference)
    folder = path.parent.parent
    with locked(folder):
        aliases = registry.aliases(reference.dataset)
        held = [alias for alias, version in aliases.items() if version == reference.version]
        if held:
            raise BadInputError(f"{reference} is {' and '.join(held)} and stays; move the alias first")
        if registry.versions(reference.dataset)[-1] == reference.version:
            raise BadInputError(f"{reference} is the newest version and stays")
        aside = folder / f"{ASIDE_PREFIX}{reference.version}"
        os.rename(path, aside)
        sync_folder(path.parent)
        # What a crash leaves here goes when the lock is next gained.
        shutil.rmtree(aside)
