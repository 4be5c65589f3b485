"""The report on a candidate that is a version in the registry."""

from __future__ import annotations

from pathlib import Path

import torch

from models_store.vlsm import FrozenVLSM
from trainer.gate.gate import Judged
from trainer.gate.versions import Versions
from trainer.reports.candidate import CandidateReport, candidate_report
from trainer.reports.candidate_facts import facts_of, gate_costs


def versions_report(
    judged: Judged, versions: Versions, *, vlsm: FrozenVLSM, device: torch.device, folder: Path
) -> CandidateReport:
    """What a judged version's page shows.

    Args:
        judged: The decision and the measurements behind it.
        versions: Candidate and champion.
        vlsm: The frozen model.
        device: Where it is.
        folder: The dataset's, for the command that makes the candidate again.
    """
    facts = facts_of(
        versions.new,
        versions.old,
        title=f"Candidate {versions.candidate}",
        settings=versions.settings,
        folder=str(folder),
        dataset=versions.candidate.dataset,
        costs=gate_costs(judged.parts),
    )
    return candidate_report(vlsm, judged, facts, device=device)
