"""Load the checkpoint files that the original CRIS writes (RN50 variant).

Such a file is a pickle from whoever had it, so it is read with weights-only semantics, within
bounds, and nothing of it is used before names, shapes and values are all as they must be.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, BadZipFile, ZipFile

import torch
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor
from transformers import CLIPTokenizer

from models_store.cris.folder import read_spec
from models_store.cris.model import FrozenCRIS
from models_store.cris.network import PUBLISHED, build_cris
from models_store.digests import tensors_digest
from models_store.errors import DamagedError, MismatchError

NAME = "cris-r50"
WRAPPER = "module."
GROUPS = ("backbone", "neck", "decoder", "proj")
# Each tells one part of CRIS from CLIP and from other variants.
SENTINELS = {
    "proj.txt.weight": (2305, 1024),
    "neck.coordconv.0.conv1.0.weight": (512, 514, 3, 3),
    "backbone.visual.attnpool.connect.0.weight": (1024, 2048, 1, 1),
}
# Stage 3 has 6 blocks in RN50 and 23 in RN101.
BEYOND_RN50 = re.compile(r"backbone\.visual\.layer3\.([6-9]|\d{2,})\.")
# Weights, and an optimiser's two moments, are 1.8 GB.
MOST_BYTES = 4 * 2**30
MOST_PICKLE_BYTES = 64 * 2**20
# CLIP's normalisation; the benchmark squashes to a square by cubic interpolation.
PREPROCESSING: dict[str, Any] = {
    "size": PUBLISHED.image_size,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "resample": 3,
}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class OriginalWeights:
    """The weights of an original file.

    Attributes:
        tensors: By the names of :func:`build_cris`; numbers are float32.
        counts: Entries of each group; 662 in all.
        wrapped: Whether the names carried the wrapper's prefix.
    """

    tensors: dict[str, Tensor]
    counts: dict[str, int]
    wrapped: bool


def load_original_base(path: Path, *, digest: str | None = None, device: str = "cpu") -> FrozenCRIS:
    """Load a CRIS from an original checkpoint file.

    Args:
        path: The file.
        digest: SHA-256 the weights must have. It is that of the weights alone: wrapper, optimiser
            and precision of storage leave it as it is.
        device: Where the weights go.

    Raises:
        DamagedError, MismatchError: As :func:`load_original`; or the weights are not the ones asked for.
    """
    weights = load_original(path)
    found = tensors_digest(weights.tensors)
    if digest is not None and found != digest:
        raise MismatchError(f"base model {str(path)!r} has weights {found}, but {digest} was asked for")
    network = build_cris(PUBLISHED)
    network.load_state_dict(weights.tensors)
    listed = ", ".join(f"{group} {count}" for group, count in weights.counts.items())
    logger.info("%s: %d entries (%s)", path.name, sum(weights.counts.values()), listed)
    spec = read_spec(PUBLISHED, PREPROCESSING, NAME, found)
    return FrozenCRIS(network=network.to(device), tokenizer=clip_tokenizer(), spec=spec)


def load_original(path: Path) -> OriginalWeights:
    """Read and check the weights of an original checkpoint file.

    Args:
        path: A file with a dictionary that has ``state_dict``, or that is one.

    Raises:
        DamagedError: It cannot be read, or names, shapes or values are not those of a CRIS.
        MismatchError: It is a CRIS of another size.
    """
    state = _state_dict(_read(path), path)
    tensors, wrapped = _unwrapped(state, path)
    _check_variant(tensors, path)
    wanted = _wanted()
    for group in GROUPS:
        _check_names(group, tensors, wanted, path)
    # What costs no reading first.
    for name, tensor in tensors.items():
        _check_kind(name, tensor, wanted[name], path)
    for name, tensor in tensors.items():
        _check_values(name, tensor, path)
    counts = Counter(name.partition(".")[0] for name in tensors)
    floats = {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}
    return OriginalWeights(
        {k: v.contiguous() for k, v in floats.items()}, {group: counts[group] for group in GROUPS}, wrapped
    )


def clip_tokenizer() -> CLIPTokenizer:
    """CLIP's tokenizer, from the vocabulary that open_clip brings along."""
    clip = SimpleTokenizer()
    vocabulary = dict(clip.encoder)
    for theirs, ours in (("<start_of_text>", "<|startoftext|>"), ("<end_of_text>", "<|endoftext|>")):
        vocabulary[ours] = vocabulary.pop(theirs)
    return CLIPTokenizer(vocab=vocabulary, merges=list(clip.bpe_ranks), model_max_length=PUBLISHED.positions)


def _read(path: Path) -> Any:
    """The file's content, of which the tensors are mapped and not yet read."""
    if not path.is_file():
        raise DamagedError(f"{path} is not a file")
    if path.stat().st_size > MOST_BYTES:
        raise DamagedError(f"{path} has {path.stat().st_size} bytes; a CRIS has at most {MOST_BYTES}")
    try:
        with ZipFile(path) as archive:
            for entry in archive.infolist():
                # torch stores its records as they are; packed ones could unfold to any size.
                if entry.compress_type != ZIP_STORED or (
                    entry.filename.endswith(".pkl") and entry.file_size > MOST_PICKLE_BYTES
                ):
                    raise DamagedError(f"{path} holds {entry.filename!r}, which torch does not write so")
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except DamagedError:
        raise
    except BadZipFile as error:
        raise DamagedError(
            f"{path} is cut short or not a checkpoint that torch wrote ({error}); "
            "a base model in the hub's layout is given by its folder"
        ) from error
    # torch raises all sorts of exceptions over damaged files, and refuses code by UnpicklingError.
    except Exception as error:
        raise DamagedError(f"{path} cannot be read as plain weights: {str(error)[:300]}") from error


def _state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    state = content.get("state_dict", content) if isinstance(content, Mapping) else content
    if not isinstance(state, Mapping):
        raise DamagedError(f"{path} holds {type(content).__name__}, not a dictionary of weights")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise DamagedError(f"{path} has {name!r} of type {type(value).__name__} where weights must be")
    if not state:
        raise DamagedError(f"{path} holds no weights")
    return dict(state)


def _unwrapped(state: dict[str, Tensor], path: Path) -> tuple[dict[str, Tensor], bool]:
    wrapped = [name for name in state if name.startswith(WRAPPER)]
    if not wrapped:
        return state, False
    if len(wrapped) < len(state):
        plain = next(name for name in state if not name.startswith(WRAPPER))
        raise DamagedError(
            f"{path} mixes names with {WRAPPER!r} ({wrapped[0]!r}) and without ({plain!r}); "
            "all of them or none must have it"
        )
    return {name.removeprefix(WRAPPER): tensor for name, tensor in state.items()}, True


def _check_variant(tensors: Mapping[str, Tensor], path: Path) -> None:
    projection = tensors.get("backbone.text_projection")
    embedded = None if projection is None else tuple(projection.shape)
    if any(map(BEYOND_RN50.match, tensors)) or embedded == (512, 512):
        raise MismatchError(f"{path} is the RN101 variant of CRIS; only RN50 is supported")
    for name, shape in SENTINELS.items():
        if name in tensors:
            _check_shape(name, tensors[name], shape, path)


@cache
def _wanted() -> dict[str, Tensor]:
    """Names, shapes and types of the 662 entries, without memory for them."""
    with torch.device("meta"):
        return build_cris(PUBLISHED).state_dict()


def _check_names(group: str, tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: Path) -> None:
    strangers = [name for name in tensors if name.partition(".")[0] not in GROUPS]
    if strangers:
        raise DamagedError(f"{path} has {_some(strangers)}, which no part of CRIS has ({', '.join(GROUPS)})")
    need = {name for name in wanted if name.startswith(f"{group}.")}
    have = {name for name in tensors if name.startswith(f"{group}.")}
    faults = [f"lacks {_some(need - have)}"] if need - have else []
    faults += [f"has {_some(have - need)}, which a CRIS does not have"] if have - need else []
    if faults:
        raise DamagedError(
            f"{path}: {group} has {len(have & need)} of {len(need)} entries; it {' and '.join(faults)}"
        )


def _check_shape(name: str, tensor: Tensor, shape: tuple[int, ...], path: Path) -> None:
    if tuple(tensor.shape) != shape:
        raise DamagedError(f"{path}: {name} has shape {list(tensor.shape)}, not {list(shape)}")


def _check_kind(name: str, tensor: Tensor, wanted: Tensor, path: Path) -> None:
    _check_shape(name, tensor, tuple(wanted.shape), path)
    if tensor.layout is not torch.strided or tensor.is_floating_point() != wanted.is_floating_point():
        raise DamagedError(f"{path}: {name} is {tensor.dtype} ({tensor.layout}), not {wanted.dtype}")


def _check_values(name: str, tensor: Tensor, path: Path) -> None:
    if not bool(tensor.isfinite().all()):
        raise DamagedError(f"{path}: {name} holds values that are not finite")
    if name.endswith("running_var") and bool((tensor < 0).any()):
        raise DamagedError(f"{path}: {name} holds negative variances")


def _some(names: Iterable[str]) -> str:
    listed = sorted(names)
    return ", ".join(listed[:5]) + (f" and {len(listed) - 5} more" if len(listed) > 5 else "")
