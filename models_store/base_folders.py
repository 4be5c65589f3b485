"""Load a base model from a folder in the hub's layout, whichever family it is of."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPTokenizer

from models_store.digests import file_digest
from models_store.errors import DamagedError, MismatchError
from models_store.json_files import read_object
from models_store.vlsm import FrozenVLSM

# Older hub repositories carry only the pickled form, which is read with weights_only.
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
TOKENIZERS = (("tokenizer.json",), ("vocab.json", "merges.txt"))
# Each names a module with read_config, read_spec, build, vocabulary and freeze.
FAMILIES = {"clipseg": "models_store.clipseg.folder", "cris": "models_store.cris.folder"}

OWNER = "base model folder"

T = TypeVar("T")


def _parse(path: Path, parse: Callable[[], T]) -> T:
    # Libraries raise all sorts of exceptions over damaged files; all mean the same to the user.
    try:
        return parse()
    except Exception as error:
        raise DamagedError(f"{path} cannot be used: {type(error).__name__}: {str(error)[:500]}") from error


def load_folder(folder: Path, name: str, digest: str | None, device: str) -> FrozenVLSM:
    """Load a base model from a folder in the hub's layout.

    Args:
        folder: The folder.
        name: The name it goes by.
        digest: SHA-256 the weights must have, or None.
        device: Where the weights go.

    Raises:
        DamagedError: A file is missing or does not parse, or weights do not fit the configuration.
        MismatchError: The weights are not the ones asked for; both digests are named.
    """
    raw = read_object(folder / "config.json", owner=OWNER)
    family = raw.get("model_type")
    if family not in FAMILIES:
        raise DamagedError(
            f"{folder / 'config.json'} says model_type {family!r}, not one of {', '.join(sorted(FAMILIES))}"
        )
    preprocessing = read_object(folder / "preprocessor_config.json", owner=OWNER)
    weights = next((folder / file for file in WEIGHTS if (folder / file).is_file()), None)
    if weights is None:
        raise DamagedError(f"base model folder {folder} lacks {WEIGHTS[0]}")
    found = file_digest(weights)
    if digest is not None and found != digest:
        raise MismatchError(f"base model {name!r} has weights {found}, but {digest} was asked for")

    # A family's libraries are imported when one of its models is asked for.
    builder = import_module(FAMILIES[family])
    config = _parse(folder / "config.json", lambda: builder.read_config(raw))
    spec = _parse(
        folder / "preprocessor_config.json", lambda: builder.read_spec(config, preprocessing, name, found)
    )
    network = _parse(folder / "config.json", lambda: builder.build(config))
    state = _parse(weights, lambda: _read_weights(weights))
    _parse(weights, lambda: network.load_state_dict(state))
    tokenizer = _parse(folder, lambda: _read_tokenizer(folder, builder.vocabulary(config)))
    frozen: FrozenVLSM = builder.freeze(network.to(device), tokenizer, spec)
    return frozen


def _read_weights(path: Path) -> dict[str, Tensor]:
    state: dict[str, Tensor]
    if path.suffix == ".safetensors":
        state = load_file(path)
    else:
        state = torch.load(path, map_location="cpu", weights_only=True)
    # Checkpoints saved by older versions carry index buffers that are now built on the fly.
    return {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in state.items()
        if not name.endswith("position_ids")
    }


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
