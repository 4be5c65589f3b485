"""What the registry holds, as lists for people and programs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from models_store.checkpoints import CheckpointConfig, read_checkpoint, read_config
from models_store.errors import MismatchError, StudioError
from models_store.registry import CANDIDATE, CHAMPION, Reference, Registry
from models_store.vlsm import VLSMSpec
from server.schemas import CheckpointInfo, DatasetDetail, DatasetInfo, LabelCountsInfo
from trainer.labels.store import LabelStore

SCALARS = (str, int, float, bool, type(None))
# Versions whose description is kept.
MOST_KEPT = 10_000
# Name, inode, size and time of change of each file.
FileStates = tuple[tuple[str, int, int, int], ...]


def list_datasets(registry: Registry, labels: LabelStore | None = None) -> list[DatasetInfo]:
    """Every dataset that has a version, or labelled data, sorted by name.

    Args:
        registry: Versions.
        labels: Labelled data, where there is a store.
    """
    names = set(registry.datasets()) | set(labels.names() if labels is not None else ())
    return [describe_dataset(registry, name, labels) for name in sorted(names)]


def describe_dataset(registry: Registry, name: str, labels: LabelStore | None = None) -> DatasetDetail:
    """One dataset, with its history.

    Raises:
        UnknownNameError: There is no such dataset.
    """
    if labels is not None and not registry.has(name):
        nothing: dict[str, Any] = {"champion": None, "candidate": None, "versions": 0}
        return DatasetDetail(name=name, **nothing, labels=[], history=[], labelled=_labelled(labels, name))
    versions, aliases = registry.versions(name), registry.aliases(name)
    return DatasetDetail(
        name=name,
        champion=aliases.get(CHAMPION),
        candidate=aliases.get(CANDIDATE),
        versions=len(versions),
        labels=_labels(registry, name, versions),
        history=registry.history(name),
        labelled=None if labels is None or name not in labels.names() else _labelled(labels, name),
    )


def _labelled(labels: LabelStore, name: str) -> LabelCountsInfo:
    return LabelCountsInfo.model_validate(asdict(labels.counts(name)))


def _labels(registry: Registry, name: str, versions: list[str]) -> list[str]:
    """Labels of the newest version that can be read; a damaged one must not hide the dataset."""
    for version in reversed(versions):
        try:
            return read_config(registry.folder(Reference(name, version))).labels
        except StudioError:
            continue
    return []


def list_checkpoints(
    registry: Registry, dataset: str | None = None, spec: VLSMSpec | None = None
) -> list[CheckpointInfo]:
    """Versions of one dataset or of all, oldest first.

    Args:
        registry: The registry.
        dataset: Only this one's; it must exist.
        spec: Base model to be checked against; None leaves that check out.
    """
    names = registry.datasets() if dataset is None else [dataset]
    return [
        describe_checkpoint(registry, Reference(name, version), spec)
        for name in names
        for version in registry.versions(name)
    ]


def describe_checkpoint(
    registry: Registry, reference: Reference, spec: VLSMSpec | None = None
) -> CheckpointInfo:
    """One version, verified; a damaged one is described as far as it can be read."""
    aliases, folder = registry.aliases(reference.dataset), registry.folder(reference)
    try:
        known, fault = _verified(folder, _files(folder), spec)
    except StudioError as error:
        known, fault = _readable(folder), str(error)
    return CheckpointInfo(
        reference=str(reference),
        dataset=reference.dataset,
        version=reference.version,
        aliases=sorted(alias for alias, version in aliases.items() if version == reference.version),
        usable=fault is None,
        fault=fault,
        **known,
    )


def _files(folder: Path) -> FileStates:
    """What changes whenever one of a folder's files does; nothing of a folder that is going away."""
    try:
        with os.scandir(folder) as entries:
            states = [(entry.name, entry.stat()) for entry in entries]
    except FileNotFoundError:
        return ()
    return tuple(sorted((name, s.st_ino, s.st_size, s.st_ctime_ns) for name, s in states))


# Thousands of versions are listed for a page, and a version is never written again. What cannot be read
# now raises and is not kept: it may be readable again without a change to its files.
@lru_cache(maxsize=MOST_KEPT)
def _verified(folder: Path, files: FileStates, spec: VLSMSpec | None) -> tuple[Mapping[str, Any], str | None]:
    """What a version says that verified, and why the base cannot serve it, if so."""
    checkpoint = read_checkpoint(folder)
    known = _told(checkpoint.config) | {"evaluation": headline(checkpoint.evaluation)}
    try:
        if spec is not None:
            checkpoint.check_base(spec)
    except MismatchError as error:
        return known, str(error)
    return known, None


def _readable(folder: Path) -> Mapping[str, Any]:
    """What a damaged version still says."""
    try:
        return _told(read_config(folder))
    except StudioError:
        return {}


def _told(config: CheckpointConfig) -> dict[str, Any]:
    kept = config.model_dump(include={"strategy", "depth", "n", "head", "created", "labels", "threshold"})
    return kept | {"base": config.base, "digest": config.pack_digest, "presence": config.presence}


def headline(evaluation: dict[str, Any]) -> dict[str, Any]:
    """The plain figures of an evaluation, one level deep; per-image lists stay in the file."""

    def plain(content: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in content.items() if isinstance(value, SCALARS)}

    groups = {key: plain(value) for key, value in evaluation.items() if isinstance(value, dict)}
    return plain(evaluation) | {key: value for key, value in groups.items() if value}
