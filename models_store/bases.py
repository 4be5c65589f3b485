"""Load a frozen base model: embedded in the package, from a local folder or file, or from the hub.

Embedded models, folders and the hub have the hub's layout: ``config.json``, ``model.safetensors``,
``preprocessor_config.json`` and the tokenizer's files. A file is a checkpoint of the original CRIS.
A name is looked up as an embedded model first, then as a folder or file, then as a hub id
(``owner/name``).
"""

from __future__ import annotations

import json
from importlib import import_module, resources
from pathlib import Path

from huggingface_hub import snapshot_download

from models_store.base_folders import WEIGHTS, load_folder
from models_store.errors import UnknownNameError
from models_store.names import DEFAULT_BASE
from models_store.vlsm import FrozenVLSM

HUB_FILES = ("*.json", "merges.txt")
# The published CLIPSeg models, of which the hub holds the tested layout.
KNOWN_HUB_BASES = ("CIDAS/clipseg-rd64", "CIDAS/clipseg-rd64-refined")


def embedded_folder() -> Path:
    """Folder of the base models inside the package."""
    return Path(str(resources.files("models_store"))) / "embedded"


def embedded_digests() -> dict[str, str]:
    """Names of the embedded base models and the digests of their weights."""
    index = embedded_folder() / "digests.json"
    if not index.is_file():
        return {}
    digests: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))
    return digests


def load_base(name: str = DEFAULT_BASE, *, digest: str | None = None, device: str = "cpu") -> FrozenVLSM:
    """Load a base model.

    Args:
        name: An embedded name, a local folder, a checkpoint file of the original CRIS, or a hub id.
        digest: SHA-256 the weights must have; embedded models always have theirs checked.
        device: Where the weights go, such as ``cpu`` or ``cuda``.

    Raises:
        UnknownNameError: There is no such model, or the hub cannot be reached.
        DamagedError: A file is missing or does not parse, or weights do not fit the configuration.
        MismatchError: The weights are not the ones asked for; both digests are named.
    """
    embedded = embedded_digests()
    if name in embedded:
        return load_folder(embedded_folder() / name, name, digest or embedded[name], device)
    folder = Path(name).expanduser()
    if name and folder.is_dir():
        return load_folder(folder, folder.resolve().name, digest, device)
    if name and folder.is_file():
        # Its libraries take seconds to import.
        original = import_module("models_store.cris.original")
        frozen: FrozenVLSM = original.load_original_base(folder, digest=digest, device=device)
        return frozen
    return load_folder(_fetch(name, sorted(embedded)), name, digest, device)


def _fetch(name: str, embedded: list[str]) -> Path:
    choices = f"embedded models ({', '.join(embedded) or 'none'}), a local folder, "
    choices += "a checkpoint file of the original CRIS (RN50), or a hub id"
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise UnknownNameError(f"no base model {name!r}; accepted: {choices} such as {KNOWN_HUB_BASES[0]}")
    try:
        folder = Path(snapshot_download(name, allow_patterns=[*HUB_FILES, WEIGHTS[0]]))
        if not (folder / WEIGHTS[0]).is_file():
            folder = Path(snapshot_download(name, allow_patterns=[*HUB_FILES, WEIGHTS[1]]))
    # Names, refusals, a cut line or no line at all: the hub's client has exceptions of its own and
    # lets those of the HTTP library through, which differs between its versions.
    except Exception as error:
        raise UnknownNameError(
            f"base model {name!r} could not be had from the hub ({_first_line(error)}); accepted: {choices}"
        ) from error
    return folder


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:300]}"
