"""How well the absent decision holds on rows that neither prompts nor cut were tuned on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict

from models_store.presence import is_absent
from models_store.vlsm import FrozenVLSM
from trainer.calibration import presence_cases, presence_in_cases
from trainer.evaluate import BATCH
from trainer.gate.measure import Part


class AbsenceCheck(BaseModel):
    """Error rates of the absent decision.

    Attributes:
        sensitivity: Share of present cases found present; None where there are none.
        specificities: Share of absent cases found absent, by kind of case as in
            :class:`models_store.identity.PresenceCut`.
        present: Present cases.
        absent: Absent cases by kind.
        promised: The mean over kinds of the specificity found when the cut was made, and its
            sensitivity, averaged over parts.
    """

    model_config = ConfigDict(frozen=True)

    sensitivity: float | None
    specificities: dict[str, float]
    present: int
    absent: dict[str, int]
    promised: dict[str, float]


def check_absence(
    vlsm: FrozenVLSM,
    parts: Sequence[Part],
    side: str,
    *,
    seed: int,
    device: torch.device,
    batch_size: int = BATCH,
) -> AbsenceCheck | None:
    """Ask rows for what is there, classes they lack, and things that no image has.

    Args:
        vlsm: The frozen model.
        parts: What was measured.
        side: Whose decision.
        seed: Draws what is asked for.
        device: Where the model is.
        batch_size: Rows per forward pass.

    Returns:
        None where the side has no cut.
    """
    right: dict[str | None, list[bool]] = {}
    cuts = []
    for part in parts:
        contender = part.contenders.get(side)
        if contender is None or contender.presence is None:
            continue
        cuts.append(contender.presence)
        cases = presence_cases(part.examples, seed=seed)
        scores = presence_in_cases(
            vlsm, contender.pack, part.examples, cases, device=device, batch_size=batch_size
        )
        for case, score in zip(cases, scores.tolist(), strict=True):
            absent = bool(is_absent(score, contender.presence))
            right.setdefault(case.kind, []).append(absent == (case.kind is not None))
    if not cuts:
        return None
    present = right.pop(None, [])
    kinds = {str(kind): flags for kind, flags in right.items()}
    return AbsenceCheck(
        sensitivity=float(np.mean(present)) if present else None,
        specificities={kind: float(np.mean(flags)) for kind, flags in kinds.items()},
        present=len(present),
        absent={kind: len(flags) for kind, flags in kinds.items()},
        promised={
            "sensitivity": float(np.mean([cut.sensitivity for cut in cuts])),
            "specificity": float(np.mean([cut.specificity for cut in cuts])),
        },
    )
