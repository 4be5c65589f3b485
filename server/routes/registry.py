"""Datasets, checkpoints and aliases."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from models_store.history import AliasMove
from models_store.registry import ALIASES, Reference, check_alias
from server import problems
from server.catalogue import describe_dataset, list_checkpoints, list_datasets
from server.errors import UnknownDatasetError
from server.routes.parts import Parts, PartsOf
from server.schemas import AliasChange, AliasTarget, CheckpointInfo, DatasetDetail, DatasetInfo

router = APIRouter(tags=["registry"])
NAMED = problems.problem_responses(problems.UNKNOWN_DATASET, problems.INVALID_REQUEST, problems.DAMAGED)
MOVED = problems.problem_responses(
    problems.UNKNOWN_DATASET,
    problems.UNKNOWN_NAME,
    problems.MISMATCH,
    problems.INVALID_REQUEST,
    problems.BAD_INPUT,
    problems.DAMAGED,
)
Name = Annotated[str, Path(description="A dataset.", examples=["busi"])]
Alias = Annotated[str, Path(description=" or ".join(ALIASES), examples=["champion"])]


def _check_dataset(parts: Parts, name: str) -> None:
    have = parts.engine.registry.datasets()
    if name not in have:
        raise UnknownDatasetError(
            f"no dataset {name[:100]!r}; there are: {', '.join(have[:20]) or 'none yet'}"
        )


@router.get("/datasets", responses=problems.problem_responses(problems.DAMAGED))
def datasets(parts: PartsOf) -> list[DatasetInfo]:
    """Datasets that have checkpoints."""
    return list_datasets(parts.engine.registry)


@router.get("/datasets/{name}", responses=NAMED)
def dataset(parts: PartsOf, name: Name) -> DatasetDetail:
    """One dataset, with every move of its aliases."""
    _check_dataset(parts, name)
    return describe_dataset(parts.engine.registry, name)


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

    A version that this server could not serve is refused, and so never becomes a champion.
    """
    _check_dataset(parts, name)
    check_alias(alias)
    reference = Reference(name, target.version)
    # Loaded before the move, so that the first request after it does not wait for the disk.
    parts.engine.packs.get(reference)
    return parts.engine.registry.move_alias(reference, alias, author=target.author, reason=target.reason)


@router.post("/datasets/{name}/aliases/{alias}/rollback", responses=MOVED)
def roll_back(parts: PartsOf, name: Name, alias: Alias, change: AliasChange) -> AliasMove:
    """Let an alias mean what it meant before its last move; again goes back further."""
    _check_dataset(parts, name)
    return parts.engine.registry.rollback(name, alias, author=change.author, reason=change.reason)
