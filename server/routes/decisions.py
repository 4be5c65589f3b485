"""Policies, and decisions on versions: each with an author and a reason."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from models_store.registry import Reference, check_dataset_name
from server.routes.jobs import READING, WRITING, check_start
from server.routes.parts import PartsOf
from server.schemas import DecisionInfo, PolicyChange, Signed
from trainer.jobs.outcomes import Decision
from trainer.jobs.policy import Policy

router = APIRouter(tags=["decisions"])
Name = Annotated[str, Path(description="A dataset.", examples=["busi"])]
Version = Annotated[str, Path(description="A version of it.", examples=["v0002"])]


@router.get("/datasets/{name}/policy", responses=READING)
def show_policy(parts: PartsOf, name: Name) -> Policy:
    """When the dataset is tuned by itself, how, and by which rule a candidate is judged."""
    check_dataset_name(name)
    return parts.jobs.known_decisions.policy(name)


@router.put("/datasets/{name}/policy", responses=WRITING)
def set_policy(parts: PartsOf, name: Name, change: PolicyChange) -> Policy:
    """Give the dataset another policy; jobs that begin from then on follow it."""
    check_dataset_name(name)
    check_start(parts, change.policy.warm_start)
    decisions = parts.jobs.known_decisions
    decisions.set_policy(name, change.policy, by=change.author, reason=change.reason)
    return decisions.policy(name)


@router.get("/datasets/{name}/decisions", responses=READING)
def list_decisions(
    parts: PartsOf, name: Name, limit: Annotated[int, Query(ge=1, le=1000)] = 200
) -> list[DecisionInfo]:
    """What was decided on the dataset's versions, newest first, with the figures it rests on."""
    check_dataset_name(name)
    return [_info(each) for each in parts.jobs.known_decisions.newest(name, limit)]


@router.post("/datasets/{name}/versions/{version}/promote", responses=WRITING)
def promote(parts: PartsOf, name: Name, version: Version, signed: Signed) -> DecisionInfo:
    """Make a version champion by a person's word, from the next request on.

    A version that this server could not serve is refused.
    """
    check_dataset_name(name)
    reference = Reference(name, version)
    # Loaded before the move, so that the first request after it does not wait for the disk.
    parts.engine.packs.get(reference)
    return _info(parts.jobs.decisions.promote(reference, by=signed.author, reason=signed.reason))


@router.post("/datasets/{name}/versions/{version}/reject", responses=WRITING)
def reject(parts: PartsOf, name: Name, version: Version, signed: Signed) -> DecisionInfo:
    """Put on record that a version is not to be used."""
    check_dataset_name(name)
    parts.engine.registry.folder(Reference(name, version))
    return _info(
        parts.jobs.decisions.reject(Reference(name, version), by=signed.author, reason=signed.reason)
    )


@router.post("/datasets/{name}/pin", responses=WRITING)
def pin(parts: PartsOf, name: Name, signed: Signed) -> DecisionInfo:
    """Let neither jobs nor people replace the champion until it is unpinned."""
    check_dataset_name(name)
    parts.engine.registry.aliases(name)
    return _info(parts.jobs.decisions.pin(name, by=signed.author, reason=signed.reason))


@router.post("/datasets/{name}/unpin", responses=WRITING)
def unpin(parts: PartsOf, name: Name, signed: Signed) -> DecisionInfo:
    """Let the champion be replaced again."""
    check_dataset_name(name)
    return _info(parts.jobs.known_decisions.unpin(name, by=signed.author, reason=signed.reason))


def _info(decision: Decision) -> DecisionInfo:
    return DecisionInfo.model_validate(decision)
