"""The gate on versions of a registry, with a dataset in a folder."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from models_store.checkpoints import Checkpoint
from models_store.errors import MismatchError, UnknownNameError
from models_store.registry import CHAMPION, Reference, Registry
from models_store.vlsm import FrozenVLSM, VLSMSpec
from trainer.gate.crossval import TrainingPart
from trainer.gate.folder import TRAIN, read_rows
from trainer.gate.gate import Judged, judge_candidate
from trainer.gate.measure import CANDIDATE, Contender
from trainer.gate.recipe import TuningRecipe
from trainer.gate.rule import PromotionRule
from trainer.gate.seen import read_seen
from trainer.tuning.command import settings_from
from trainer.tuning.data import image_digests
from trainer.tuning.settings import TuneSettings
from trainer.tuning.start import WarmStart

SPLIT = "val"


@dataclass(frozen=True)
class Versions:
    """The two versions to compare, read and verified.

    Attributes:
        candidate, champion: Names.
        new, old: The checkpoints.
        settings: What the candidate was tuned by; None where it does not say.
        start: The checkpoint that the candidate's tuning started from, if one.
        champion_saw: SHA-256 of the images the champion was tuned on; None where it does not say.
        not_compared: Why the champion in use cannot be compared, where it is of another base model.
    """

    candidate: Reference
    new: Checkpoint
    champion: Reference | None
    old: Checkpoint | None
    settings: TuneSettings | None
    start: WarmStart | None
    champion_saw: frozenset[str] | None
    not_compared: str | None = None


def read_versions(registry: Registry, candidate: str, champion: str | None, vlsm: FrozenVLSM) -> Versions:
    """Read what is to be compared.

    A champion in use that was made for another base model cannot be run, and so is not compared; one that
    is named is an error then.

    Args:
        registry: Where they are.
        candidate: The candidate, as :meth:`Registry.resolve` takes it.
        champion: The champion likewise. None: that of the candidate's dataset, if it has one and that
            is not the candidate itself.
        vlsm: The frozen model.

    Raises:
        UnknownNameError: There is no such version.
        MismatchError: The candidate, or a champion that was named, was made for another base model.
        DamagedError: One does not verify.
    """
    reference = registry.resolve(candidate)
    new = registry.read(reference)
    new.check_base(vlsm.spec)
    other: Reference | None
    if champion is not None:
        other = registry.resolve(champion)
    else:
        in_use = registry.aliases(reference.dataset).get(CHAMPION)
        other = None if in_use in (None, reference.version) else Reference(reference.dataset, str(in_use))
    old, not_compared = None, None
    if other is not None:
        old = registry.read(other)
        if champion is not None:
            old.check_base(vlsm.spec)
        not_compared = _of_another_base(other, old, vlsm.spec)
    recorded, warm = (new.config.data.get(name) for name in ("settings", "warm_start"))
    return Versions(
        candidate=reference,
        new=new,
        champion=other,
        old=old,
        settings=None if recorded is None else settings_from(recorded),
        start=None if warm is None else WarmStart.open(registry, warm["checkpoint"], vlsm.spec),
        champion_saw=None if other is None else read_seen(registry.folder(other)),
        not_compared=not_compared,
    )


def _of_another_base(reference: Reference, checkpoint: Checkpoint, spec: VLSMSpec) -> str | None:
    """Why a champion cannot be run on a base, for people; None where it can."""
    try:
        checkpoint.check_base(spec)
    except MismatchError as error:
        made_for = checkpoint.config.base
        if made_for.name == spec.name:
            return f"the champion {reference} was not compared, since it cannot be run: {error}"
        return (
            f"the champion {reference} is of base {made_for.name!r}, which is not the one in use "
            f"({spec.name!r}), so it was not compared"
        )
    return None


def contender_of(checkpoint: Checkpoint) -> Contender:
    """A checkpoint as it is served."""
    return Contender(checkpoint.pack, checkpoint.config.threshold, checkpoint.config.presence)


def judge_versions(
    folder: Path,
    versions: Versions,
    *,
    vlsm: FrozenVLSM,
    rule: PromotionRule,
    device: torch.device,
    **options: Any,
) -> Judged:
    """Judge a version on a dataset folder; its groups are the independent units, or its images.

    Phrases are those the candidate was tuned with. Cross-validation takes the candidate's settings,
    and the images of ``train`` that they name.

    Args:
        folder: A folder with the split ``val``.
        versions: What to compare.
        vlsm: The frozen model.
        rule: The promotion rule.
        device: Where the model is.
        options: Passed to :func:`trainer.gate.gate.judge_candidate`.

    Raises:
        StudioError: The data cannot be used.
    """
    settings = versions.settings or TuneSettings(
        prompt_key=versions.new.config.data.get("prompt_key") or "p1", threshold=versions.new.config.threshold
    )
    val = read_rows(folder, SPLIT, settings, vlsm)
    names = {CANDIDATE: str(versions.candidate)}
    if versions.champion is not None:
        names["champion"] = str(versions.champion)
    training = partial(training_part, folder, settings, versions.start, vlsm, device)
    return judge_candidate(
        vlsm,
        contender_of(versions.new),
        None if val is None else val.examples,
        rule=rule,
        device=device,
        champion=None if versions.old is None else contender_of(versions.old),
        champion_saw=versions.champion_saw,
        not_compared=versions.not_compared,
        units=() if val is None else val.units,
        grouped=val is not None and val.grouped,
        training=None if versions.settings is None else training,
        names=names,
        data=_digests(versions.new),
        **options,
    )


def training_part(
    folder: Path, settings: TuneSettings, start: WarmStart | None, vlsm: FrozenVLSM, device: torch.device
) -> TrainingPart:
    """What the settings name of ``train``, and the recipe to follow again.

    Images that the start of tuning was itself tuned on are not measured on; where it does not say on
    which, that is all of them.
    """
    rows = read_rows(folder, TRAIN, settings, vlsm)
    if rows is None:
        raise UnknownNameError(f"{folder} has no split {TRAIN!r} to cross-validate on")
    saw: frozenset[str] = frozenset()
    if start is not None:
        seen = read_seen(start.checkpoint.folder)
        saw = frozenset(image_digests(rows.examples)) if seen is None else seen
    recipe = TuningRecipe(vlsm, settings, device, start=start)
    return TrainingPart(rows.examples, rows.units, recipe, saw)


def _digests(checkpoint: Checkpoint) -> dict[str, str]:
    """Digests of the data that a version states."""
    data = checkpoint.config.data
    found = {"tuned on": data.get("train", {}).get("used_digest"), "val": data.get("val", {}).get("digest")}
    return {name: digest for name, digest in found.items() if isinstance(digest, str)}
