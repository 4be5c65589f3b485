"""Import of a training checkpoint of the benchmark's own code (a Lightning file).

Such a file holds the learned vectors and projections under ``net.context_learner``, the head under
``net.additive_decoder_layer`` and ``net.residual_ratio``, and a copy of the frozen model. The first
two become a learner; the copy is compared with the base model and dropped. What a file does not
say (which head semantics its class used, and a few flags) are arguments.
"""

from __future__ import annotations

import pickle
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models_store.checkpoints import CheckpointConfig, NewCheckpoint, learner_tensors
from models_store.errors import BadInputError, DamagedError, MismatchError, UnknownNameError
from models_store.heads import HeadMode
from models_store.identity import BaseIdentity
from models_store.reference_names import (
    HEAD_NAMES,
    RATIO,
    Learned,
    default_head,
    own_names,
    strategy_of,
)
from models_store.strategies import STRATEGIES, make_learner
from models_store.strategies.learner import PromptLearner
from models_store.vlsm import FrozenVLSM

SHOWN = 3
NET, CONTEXT = "net.", "context_learner."
FROZEN = {"clipseg": ("model.",), "cris": ("backbone.", "neck.", "decoder.", "proj.")}
# Buffers that older library versions saved; they hold no weights.
POSITION_IDS = ".position_ids"


@dataclass(frozen=True)
class ImportedReference:
    """What a file of the benchmark became.

    Attributes:
        strategy: Which strategy it was trained with.
        options: The arguments that build such a learner.
        learner: The learner with the file's values.
        compared: Number of the file's frozen weights that were found equal to the base's; 0 where
            it holds none.
    """

    strategy: str
    options: dict[str, Any]
    learner: PromptLearner
    compared: int


def import_reference(
    path: Path,
    vlsm: FrozenVLSM,
    *,
    strategy: str | None = None,
    head: HeadMode | None = None,
    normalise: bool = False,
    pre_norm: bool = True,
    heads: int = 16,
    dropout: float = 0.25,
) -> ImportedReference:
    """Read a training checkpoint of the benchmark.

    Args:
        path: The file.
        vlsm: The base model it was trained on.
        strategy: Its strategy; needed only where names and shapes do not tell.
        head: What was done with its head; by default what its class does, or nothing where the file
            has no head.
        normalise: CoCoOp: whether the image feature was scaled to length one.
        pre_norm: Shared-attention: whether its norms came before attention and feed-forward.
        heads: Shared-attention: its attention heads.
        dropout: Shared-attention: its dropout, should training go on.

    Raises:
        DamagedError: It cannot be read without running code, lacks entries, or holds unknown or
            misshapen ones.
        UnknownNameError: There is no such strategy.
        MismatchError: Its frozen weights are not the base's.
        BadInputError: Its strategy cannot be told, or a head is asked for that it lacks.
    """
    entries = _without_prefix(_read(path))
    learned, head_entries, frozen = _sorted_out(entries, vlsm.spec.family)
    compared = _compare_frozen(frozen, vlsm)
    content = Learned.of(learned, vlsm.spec)
    name = strategy_of(content, vlsm.spec) if strategy is None else strategy
    if name not in STRATEGIES:
        raise UnknownNameError(f"no strategy {name!r}; there are {', '.join(sorted(STRATEGIES))}")
    mode = _head_mode(head, default_head(name, vlsm.spec.family), head_entries)
    options = content.options(name) | {"head": mode, "seed": 12345}
    if vlsm.spec.family == "cris":
        options["reference_depth"] = True
    if name == "cocoop":
        options["normalise"] = normalise
    if name == "shared_attention":
        options |= {"pre_norm": pre_norm, "heads": heads, "dropout": dropout, "attend": "token"}
    learner = make_learner(name, vlsm, **options)
    state = own_names(name, content) | _head_state(mode, head_entries, vlsm.spec.family)
    try:
        learner.load_state_dict(state)
    except RuntimeError as error:
        raise DamagedError(f"{path}: the entries do not make up a learner of {name}: {error}") from error
    return ImportedReference(name, options, learner, compared)


def reference_checkpoint(
    imported: ImportedReference,
    vlsm: FrozenVLSM,
    *,
    labels: list[str],
    source: str,
    threshold: float = 0.5,
) -> NewCheckpoint:
    """An imported learner as a checkpoint to publish; it is measured by nobody yet.

    Args:
        imported: What was imported.
        vlsm: The base model.
        labels: The phrases it was trained on, which its file does not say.
        source: Name of the file.
        threshold: Probability at which masks are cut; the benchmark's is 0.5.
    """
    pack, options = imported.learner.fold(), imported.options
    config = CheckpointConfig(
        strategy=imported.strategy,
        options={k: v for k, v in options.items() if k not in ("depth", "n", "head", "seed")},
        depth=options["depth"],
        n=options["n"],
        head=pack.head_mode,
        shift=pack.shift_form,
        base=BaseIdentity(name=vlsm.spec.name, digest=vlsm.spec.digest),
        preprocessing=vlsm.spec.preprocessing,
        threshold=threshold,
        labels=labels,
        data={"imported_from": source, "frozen_weights_compared": imported.compared},
        seed=options["seed"],
        pack_digest=pack.digest,
    )
    card = (
        f"# {imported.strategy} on {vlsm.spec.name}\n\nImported from `{source}`, a training checkpoint of "
        f"TuneVLSeg's code. Phrases: {', '.join(labels)}. It has not been measured here.\n"
    )
    return NewCheckpoint(config, learner_tensors(imported.learner), pack, {}, card)


def _read(path: Path) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            # Of pickle protocols that are rarely used; a file that cannot be read fails below.
            warnings.simplefilter("ignore", UserWarning)
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise BadInputError(f"there is no file {path}") from error
    except pickle.UnpicklingError as error:
        raise DamagedError(
            f"{path} holds more than tensors and plain values, and running its code is not accepted; "
            f"save its 'state_dict' alone and import that ({str(error).splitlines()[0]})"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise DamagedError(f"{path} cannot be read as a torch file: {error}") from error
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not state:
        raise DamagedError(f"{path} holds no state_dict")
    strange = [
        key for key, value in state.items() if not (isinstance(key, str) and isinstance(value, Tensor))
    ]
    if strange:
        raise DamagedError(f"{path}: entries of its state_dict are not named tensors: {_some(strange)}")
    return state


def _without_prefix(entries: dict[str, Tensor]) -> dict[str, Tensor]:
    prefixed = [key for key in entries if key.startswith(NET)]
    if prefixed and len(prefixed) < len(entries):
        others = [key for key in entries if not key.startswith(NET)]
        raise DamagedError(f"some entries are under {NET!r} and some are not: {_some(others)}")
    return {key.removeprefix(NET): value for key, value in entries.items()}


def _sorted_out(
    entries: dict[str, Tensor], family: str
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """The learned entries, the head's, and the frozen model's; unknown ones are an error."""
    learned: dict[str, Tensor] = {}
    of_head: dict[str, Tensor] = {}
    frozen: dict[str, Tensor] = {}
    unknown = []
    for key, value in entries.items():
        if key.startswith(CONTEXT):
            learned[key.removeprefix(CONTEXT)] = value.float()
        elif key == RATIO or key in HEAD_NAMES[family]:
            of_head[key] = value.float()
        elif key.startswith(FROZEN[family]):
            if not key.endswith(POSITION_IDS):
                frozen[key] = value
        else:
            unknown.append(key)
    if unknown:
        raise DamagedError(f"{len(unknown)} entries are of no known kind: {_some(unknown)}")
    infinite = [key for key, value in (learned | of_head).items() if not value.isfinite().all()]
    if infinite:
        raise DamagedError(f"learned entries hold values that are not finite: {_some(infinite)}")
    return learned, of_head, frozen


def _compare_frozen(frozen: dict[str, Tensor], vlsm: FrozenVLSM) -> int:
    """Raise MismatchError unless the file's copy of the frozen model is the base, entry by entry."""
    network = getattr(vlsm, "network", None)
    if not frozen or network is None:
        return 0
    prefix = "model." if vlsm.spec.family == "clipseg" else ""
    base = {prefix + key: value for key, value in network.state_dict().items()}
    base = {key: value for key, value in base.items() if not key.endswith(POSITION_IDS)}
    problems = {
        "are not the base's": [k for k, v in frozen.items() if k in base and not _same(v, base[k])],
        "are not in the base": [k for k in frozen if k not in base],
        "are missing": [k for k in base if k not in frozen],
    }
    told = [f"{len(keys)} frozen weights {what} ({_some(keys)})" for what, keys in problems.items() if keys]
    if told:
        raise MismatchError(f"the file was trained on another base than {vlsm.spec.name}: {'; '.join(told)}")
    return len(frozen)


def _same(theirs: Tensor, ours: Tensor) -> bool:
    return theirs.shape == ours.shape and torch.equal(theirs.to(ours.dtype), ours.cpu())


def _head_mode(asked: HeadMode | None, usual: HeadMode, entries: dict[str, Tensor]) -> HeadMode:
    has_head = any(key != RATIO for key in entries)
    if asked is None:
        return usual if has_head else HeadMode.NONE
    if asked is not HeadMode.NONE and not has_head:
        raise BadInputError(f"head {asked.value!r} is asked for, but the file has no head")
    return asked


def _head_state(mode: HeadMode, entries: dict[str, Tensor], family: str) -> dict[str, Tensor]:
    if mode is HeadMode.NONE:
        return {}
    wanted = dict(HEAD_NAMES[family]) | ({RATIO: "head.ratio"} if mode is HeadMode.MIX else {})
    missing = [key for key in wanted if key not in entries]
    if missing:
        raise DamagedError(f"the head lacks entries: {_some(missing)}")
    state = {ours: entries[theirs] for theirs, ours in wanted.items()}
    if "head.ratio" in state and state["head.ratio"].numel() == 1:
        state["head.ratio"] = state["head.ratio"].reshape(())
    return state


def _some(names: list[Any]) -> str:
    shown = ", ".join(str(name) for name in names[:SHOWN])
    return shown + (", ..." if len(names) > SHOWN else "")
