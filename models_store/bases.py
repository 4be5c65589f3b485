"""Load a frozen base model: embedded in the package, from a local folder, or from the hub.

All three are the hub's layout: ``config.json``, ``model.safetensors``, ``preprocessor_config.json``
and the tokenizer's files. A name is looked up as an embedded model first, then as a folder, then
as a hub id (``owner/name``).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import torch
from huggingface_hub import snapshot_download
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPSegConfig, CLIPTokenizer

from models_store.clipseg.model import FrozenCLIPSeg
from models_store.clipseg.network import build_network
from models_store.digests import file_digest
from models_store.errors import DamagedError, MismatchError, UnknownNameError
from models_store.names import DEFAULT_BASE
from models_store.vlsm import FrozenVLSM, VLSMSpec

# Older hub repositories carry only the pickled form, which is read with weights_only.
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
TOKENIZERS = (("tokenizer.json",), ("vocab.json", "merges.txt"))
HUB_FILES = ("*.json", "merges.txt")
# The published CLIPSeg models, of which the hub holds the tested layout.
KNOWN_HUB_BASES = ("CIDAS/clipseg-rd64", "CIDAS/clipseg-rd64-refined")
# What CLIPSeg's image processor does where its file does not say.
DEFAULT_RESAMPLE = Image.Resampling.BILINEAR

T = TypeVar("T")


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
    if name and folder.is_dir():
        return _load_folder(folder, folder.resolve().name, digest, device)
    return _load_folder(_fetch(name, sorted(embedded)), name, digest, device)


def _fetch(name: str, embedded: list[str]) -> Path:
    choices = f"embedded models ({', '.join(embedded) or 'none'}), a local folder, or a hub id"
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


def _parse(path: Path, parse: Callable[[], T]) -> T:
    # Libraries raise all sorts of exceptions over damaged files; all mean the same to the user.
    try:
        return parse()
    except Exception as error:
        raise DamagedError(f"{path} cannot be used: {type(error).__name__}: {str(error)[:500]}") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DamagedError(f"base model folder {path.parent} lacks {path.name}") from error
    except (OSError, ValueError) as error:
        raise DamagedError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise DamagedError(f"{path} must hold a JSON object")
    return content


def _load_folder(folder: Path, name: str, digest: str | None, device: str) -> FrozenVLSM:
    raw = _read_json(folder / "config.json")
    if raw.get("model_type") != "clipseg":
        raise DamagedError(
            f"{folder / 'config.json'} says model_type {raw.get('model_type')!r}, not 'clipseg'"
        )
    preprocessing = _read_json(folder / "preprocessor_config.json")
    weights = next((folder / file for file in WEIGHTS if (folder / file).is_file()), None)
    if weights is None:
        raise DamagedError(f"base model folder {folder} lacks {WEIGHTS[0]}")
    found = file_digest(weights)
    if digest is not None and found != digest:
        raise MismatchError(f"base model {name!r} has weights {found}, but {digest} was asked for")

    config = _parse(folder / "config.json", lambda: CLIPSegConfig.from_dict(raw))
    spec = _parse(
        folder / "preprocessor_config.json", lambda: clipseg_spec(config, preprocessing, name, found)
    )
    network = _parse(folder / "config.json", lambda: build_network(config))
    state = _parse(weights, lambda: _read_weights(weights))
    _parse(weights, lambda: network.load_state_dict(state))
    tokenizer = _parse(folder, lambda: _read_tokenizer(folder, config.text_config.vocab_size))
    return FrozenCLIPSeg(network=network.to(device), tokenizer=tokenizer, spec=spec)


def _read_weights(path: Path) -> dict[str, Tensor]:
    state: dict[str, Tensor]
    if path.suffix == ".safetensors":
        state = load_file(path)
    else:
        state = torch.load(path, map_location="cpu", weights_only=True)
    # Checkpoints saved by older versions carry index buffers that are now built on the fly.
    return {name: tensor.float() for name, tensor in state.items() if not name.endswith("position_ids")}


def _read_tokenizer(folder: Path, vocabulary: int) -> CLIPTokenizer:
    # Without its files the class makes an empty vocabulary instead of failing.
    if not any(all((folder / file).is_file() for file in files) for files in TOKENIZERS):
        raise FileNotFoundError(
            "it lacks the tokenizer's files, " + " or ".join(map(" and ".join, TOKENIZERS))
        )
    tokenizer = CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)
    if len(tokenizer) > vocabulary:
        raise ValueError(f"the tokenizer has {len(tokenizer)} tokens, but the model {vocabulary}")
    return tokenizer


def clipseg_spec(config: CLIPSegConfig, preprocessing: dict[str, Any], name: str, digest: str) -> VLSMSpec:
    """Sizes and identity of a CLIPSeg from its configuration and its processor's.

    Raises:
        ValueError: The processor does not make squares of whole patches, or its normalisation or
            filter means nothing.
    """
    text, vision = config.text_config, config.vision_config
    size = preprocessing.get("size", vision.image_size)
    sides = {size} if isinstance(size, int) else set(size.values())
    if len(sides) != 1 or min(sides) < 1 or min(sides) % vision.patch_size:
        raise ValueError(f"size {size} is not a square whose side is a multiple of {vision.patch_size}")
    red_mean, green_mean, blue_mean = map(float, preprocessing["image_mean"])
    red_std, green_std, blue_std = map(float, preprocessing["image_std"])
    if min(red_std, green_std, blue_std) <= 0:
        raise ValueError(f"image_std {preprocessing['image_std']} must be positive")
    return VLSMSpec(
        name=name,
        family="clipseg",
        digest=digest,
        image_size=sides.pop(),
        patch_size=vision.patch_size,
        text_width=text.hidden_size,
        text_layers=text.num_hidden_layers,
        text_positions=text.max_position_embeddings,
        vision_width=vision.hidden_size,
        vision_layers=vision.num_hidden_layers,
        last_vision_layer=max(config.extract_layers) + 1,
        projection_dim=config.projection_dim,
        pooled_width=config.projection_dim,
        grid_channels=config.reduce_dim,
        head_channels=None,
        mean=(red_mean, green_mean, blue_mean),
        std=(red_std, green_std, blue_std),
        resample=Image.Resampling(preprocessing.get("resample", DEFAULT_RESAMPLE)).value,
    )
