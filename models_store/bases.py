"""Load a frozen base model: embedded in the package, from a local folder, or from the hub.

All three are the hub's layout: ``config.json``, ``model.safetensors``, ``preprocessor_config.json``
and the tokenizer's files. A name is looked up as an embedded model first, then as a folder, then
as a hub id (``owner/name``).
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPSegConfig, CLIPTokenizer

from models_store.clipseg.model import FrozenCLIPSeg
from models_store.clipseg.network import build_network
from models_store.digests import file_digest
from models_store.errors import DamagedError, MismatchError, UnknownNameError
from models_store.vlsm import FrozenVLSM, VLSMSpec

# Older hub repositories carry only the pickled form, which is read with weights_only.
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
HUB_FILES = ("*.json", "merges.txt", *WEIGHTS)
DEFAULT_BASE = "clipseg-tiny-med"
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
        name: An embedded name, a local folder, or a hub id.
        digest: SHA-256 the weights must have; embedded models always have theirs checked.
        device: Where the weights go, such as ``cpu`` or ``cuda``.

    Raises:
        UnknownNameError: There is no such model, or the hub cannot be reached.
        DamagedError: A file is missing or does not parse, or weights do not fit the configuration.
        MismatchError: The weights are not the ones asked for; both digests are named.
    """
    embedded = embedded_digests()
    if name in embedded:
        return _load_folder(embedded_folder() / name, name, digest or embedded[name], device)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _load_folder(folder, folder.resolve().name, digest, device)
    return _load_folder(_fetch(name, sorted(embedded)), name, digest, device)


def _fetch(name: str, embedded: list[str]) -> Path:
    choices = f"embedded models ({', '.join(embedded) or 'none'}), a local folder, or a hub id"
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise UnknownNameError(f"no base model {name!r}; accepted: {choices} such as {KNOWN_HUB_BASES[0]}")
    try:
        return Path(snapshot_download(name, allow_patterns=list(HUB_FILES)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise UnknownNameError(
            f"base model {name!r} could not be had from the hub ({type(error).__name__}); accepted: {choices}"
        ) from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DamagedError(f"base model folder {path.parent} lacks {path.name}") from error
    except ValueError as error:
        raise DamagedError(f"{path} is not valid JSON: {error}") from error
    return content


def _load_folder(folder: Path, name: str, digest: str | None, device: str) -> FrozenVLSM:
    raw = _read_json(folder / "config.json")
    if raw.get("model_type") != "clipseg":
        raise DamagedError(f"{folder / 'config.json'} says model_type {raw.get('model_type')!r}, not 'clipseg'")
    preprocessing = _read_json(folder / "preprocessor_config.json")
    weights = next((folder / file for file in WEIGHTS if (folder / file).is_file()), None)
    if weights is None:
        raise DamagedError(f"base model folder {folder} lacks {WEIGHTS[0]}")
    found = file_digest(weights)
    if digest is not None and found != digest:
        raise MismatchError(f"base model {name!r} has weights {found}, but {digest} was asked for")

    config = CLIPSegConfig.from_dict(raw)
    network = build_network(config)
    try:
        state = _read_weights(weights)
        # Checkpoints saved by older versions carry index buffers that are now built on the fly.
        state = {k: v.float() for k, v in state.items() if not k.endswith("position_ids")}
        network.load_state_dict(state)
    except (SafetensorError, RuntimeError, UnpicklingError) as error:
        raise DamagedError(f"{weights} does not fit its configuration: {str(error)[:500]}") from error
    return FrozenCLIPSeg(
        network=network.to(device),
        tokenizer=_tokenizer(folder),
        spec=clipseg_spec(config, preprocessing, name, found),
    )


def _read_weights(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        return load_file(path)
    state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def _tokenizer(folder: Path) -> CLIPTokenizer:
    try:
        return CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError, TypeError) as error:
        raise DamagedError(f"the tokenizer in {folder} cannot be read: {error}") from error


def clipseg_spec(config: CLIPSegConfig, preprocessing: dict[str, Any], name: str, digest: str) -> VLSMSpec:
    """Sizes and identity of a CLIPSeg from its configuration and its processor's."""
    text, vision = config.text_config, config.vision_config
    size = preprocessing.get("size", vision.image_size)
    side = size if isinstance(size, int) else size.get("height", size.get("shortest_edge"))
    mean, std = preprocessing["image_mean"], preprocessing["image_std"]
    return VLSMSpec(
        name=name,
        family="clipseg",
        digest=digest,
        image_size=side,
        patch_size=vision.patch_size,
        text_width=text.hidden_size,
        text_layers=text.num_hidden_layers,
        text_positions=text.max_position_embeddings,
        vision_width=vision.hidden_size,
        vision_layers=vision.num_hidden_layers,
        last_vision_layer=max(config.extract_layers) + 1,
        projection_dim=config.projection_dim,
        grid_channels=config.reduce_dim,
        mean=(mean[0], mean[1], mean[2]),
        std=(std[0], std[1], std[2]),
        resample=preprocessing.get("resample", Image.Resampling.BICUBIC),
    )
