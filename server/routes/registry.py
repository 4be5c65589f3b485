"""Datasets, checkpoints and aliases."""

from __future__ import annotations

import logging
from typing import Annotated

from fastapi import APIRouter, Path, Query

from models_store.history import AliasMove
from models_store.registry import ALIASES, Reference, check_alias
from server import problem_kinds as kinds
from server import problems
from server.catalogue import describe_dataset, list_checkpoints, list_datasets
from server.errors import UnknownDatasetError
from server.routes.parts import Parts, PartsOf
from server.schemas import AliasChange, AliasTarget, CheckpointInfo, DatasetDetail, DatasetInfo
from trainer.jobs import aliases
from trainer.labels.errors import StoreBusyError
from trainer.labels.store import LabelStore

logger = logging.getLogger(__name__)
router = APIRouter(tags=["registry"])
NAMED = problems.problem_responses(kinds.UNKNOWN_DATASET, kinds.INVALID_REQUEST, kinds.DAMAGED)
MOVED = problems.problem_responses(
    kinds.UNKNOWN_DATASET,
    kinds.UNKNOWN_NAME,
    kinds.MISMATCH,
    kinds.CONFLICT,
    kinds.INVALID_REQUEST,
    kinds.BAD_INPUT,
    kinds.DAMAGED,
    kinds.STORE_BUSY,
    kinds.STORE_FULL,
)
Name = Annotated[str, Path(description="A dataset.", examples=["busi"])]
Alias = Annotated[str, Path(description=" or ".join(ALIASES), examples=["champion"])]


def _labelled(parts: Parts) -> LabelStore | None:
    """The labelled data; None where there is none, or none to be had: checkpoints are listed without it."""
    try:
        return parts.labels.present
    except StoreBusyError as error:
        logger.warning("labelled data are not listed: %s", error)
        return None


def _check_dataset(parts: Parts, name: str) -> None:
    have = parts.engine.registry.datasets()
    if name not in have:
        raise UnknownDatasetError(
            f"no dataset {name[:100]!r}; there are: {', '.join(have[:20]) or 'none yet'}"
        )


@router.get("/datasets", responses=problems.problem_responses(kinds.DAMAGED))
def datasets(parts: PartsOf) -> list[DatasetInfo]:
    """Datasets that have checkpoints, labelled data, or both."""
    return list_datasets(parts.engine.registry, _labelled(parts))


@router.get("/datasets/{name}", responses=NAMED)
def dataset(parts: PartsOf, name: Name) -> DatasetDetail:
    """One dataset, with every move of its aliases."""
    labels = _labelled(parts)
    if labels is None or name not in labels.names():
        _check_dataset(parts, name)
    return describe_dataset(parts.engine.registry, name, labels)


@router.get("/checkpoints", responses=NAMED)
def checkpoints(
    parts: PartsOf,
    dataset: Annotated[str | None, Query(description="Only this dataset's.", examples=["busi"])] = None,
) -> list[CheckpointInfo]:
    """Checkpoints, each verified and compared with the base model in use."""
    if dataset is not None:
        _check_dataset(parts, dataset)
    return list_checkpoints(parts.engine.registry, dataset, parts.engine.vlsm.spec)


@router.put("/datasets/{name}/aliases/{alias}", responses=MOVED)
def move_alias(parts: PartsOf, name: Name, alias: Alias, target: AliasTarget) -> AliasMove:
    """Let an alias mean another version, from the next request on.

    A version that this server could not serve is refused, and so never becomes a champion, as is any other
    than the one that the dataset is pinned to. A labelled dataset's champion moves on record.
    """
    _check_dataset(parts, name)
    check_alias(alias)
    reference = Reference(name, target.version)
    # Loaded before the move, so that the first request after it does not wait for the disk.
    parts.engine.packs.get(reference)
    registry = parts.engine.registry
    return aliases.move_alias(
        registry, lambda: parts.labels.present, reference, alias, by=target.author, reason=target.reason
    )


@router.post("/datasets/{name}/aliases/{alias}/rollback", responses=MOVED)
def roll_back(parts: PartsOf, name: Name, alias: Alias, change: AliasChange) -> AliasMove:
    """Let an alias mean what it meant before its last move; again goes back further.

    The champion of a dataset that is pinned stays.
    """
    _check_dataset(parts, name)
    registry = parts.engine.registry
    return aliases.roll_back(
        registry, lambda: parts.labels.present, name, alias, by=change.author, reason=change.reason
    )
