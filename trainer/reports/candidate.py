"""The report on a candidate: what it is, how it compares, and why the gate decided as it did."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from models_store.files import replace_file
from models_store.vlsm import FrozenVLSM
from trainer.evaluate import BATCH
from trainer.gate.absence import AbsenceCheck, check_absence
from trainer.gate.gate import Judged
from trainer.gate.measure import CANDIDATE, CHAMPION, SIDES, ZERO, Part
from trainer.gate.record import GateRecord
from trainer.reports.candidate_cases import Cases, candidate_cases
from trainer.reports.candidate_facts import CandidateFacts
from trainer.reports.candidate_figures import SideFigures, figures_of
from trainer.reports.candidate_sections import (
    decision_section,
    figures_section,
    images_section,
    portions_section,
)
from trainer.reports.candidate_trust import (
    calibration_section,
    changes_section,
    data_section,
    reproduction_section,
    training_section,
    wording_section,
)
from trainer.reports.document import Block, Document, Gallery, Section, Text
from trainer.reports.markdown import markdown_page
from trainer.reports.page import html_page
from trainer.reports.write import CSV, HTML, JSON, MARKDOWN

OUTLINES = "Outlines: truth green, candidate magenta, {other} orange."
METHOD = (
    "Dice and IoU are per image at its own resolution, then averaged; two empty masks agree (1). Every "
    "contender is measured at the threshold it is served with.",
    "Intervals say how much the choice of images matters, and nothing of another seed or another tuning run.",
    "Expected calibration error (ECE): the mean distance between what was said and what was so, over ten "
    "bins of equal width. For pixels each image counts alike; for masks confidence, the mean probability "
    "inside the mask, is held against Dice, which it is no probability of.",
)


@dataclass(frozen=True)
class CandidateReport:
    """Everything a candidate's page shows.

    Attributes:
        record: The gate's decision.
        facts: What was told of the candidate.
        sides: Calibration and wording of each contender.
        absence: The absent decision of those that make one.
        cases: Pictures; None leaves them out.
    """

    record: GateRecord
    facts: CandidateFacts
    sides: Mapping[str, SideFigures]
    absence: Mapping[str, AbsenceCheck]
    cases: Cases | None


def candidate_report(
    vlsm: FrozenVLSM,
    judged: Judged,
    facts: CandidateFacts,
    *,
    device: torch.device,
    batch_size: int = BATCH,
    pictures: bool = True,
) -> CandidateReport:
    """Make what a report needs beyond the gate's measurements.

    Args:
        vlsm: The frozen model.
        judged: What the gate measured and decided.
        facts: Plain facts of the candidate.
        device: Where the model is.
        batch_size: Rows per forward pass.
        pictures: Whether to show images.
    """
    parts, record = judged.parts, judged.record
    sides = [side for side in SIDES if any(side in part.results for part in parts)]
    checks = {
        side: check_absence(vlsm, parts, side, seed=record.seed, device=device, batch_size=batch_size)
        for side in sides
        if side != ZERO
    }
    return CandidateReport(
        record,
        facts,
        {side: figures_of(parts, side) for side in sides},
        {side: check for side, check in checks.items() if check is not None},
        candidate_cases(vlsm, parts, _shown_beside(parts), device=device) if pictures and parts else None,
    )


def _shown_beside(parts: tuple[Part, ...]) -> str:
    return CHAMPION if any(CHAMPION in part.results for part in parts) else ZERO


def candidate_document(report: CandidateReport) -> Document:
    """The report, most wanted first."""
    record, facts = report.record, report.facts
    sections: list[Section | None] = [decision_section(record)]
    if record.rows:
        sections += [figures_section(record), images_section(record), portions_section(record.comparisons)]
    sections += [
        *_cases_sections(report),
        wording_section(report.sides),
        calibration_section(report.sides, report.absence) if report.sides else None,
        data_section(record, facts),
        changes_section(facts),
        training_section(facts),
        reproduction_section(record, facts),
        Section("How this was measured", [Text(words) for words in METHOD]),
    ]
    return Document(facts.title, [section for section in sections if section is not None])


def _cases_sections(report: CandidateReport) -> list[Section]:
    if report.cases is None:
        return []
    beside = "champion" if CHAMPION in report.sides else "zero-shot"
    told = Text(OUTLINES.format(other=beside))
    found = (("Worst", report.cases.worst), ("Most changed", report.cases.changed))
    sections = []
    for title, pictures in found:
        blocks: list[Block] = [told, Gallery(pictures)]
        if pictures:
            sections.append(Section(title, blocks))
    return sections


def report_content(report: CandidateReport) -> dict[str, Any]:
    """Content of ``report.json``."""
    return {
        "gate": report.record.model_dump(mode="json"),
        "facts": asdict(report.facts),
        "sides": {side: asdict(figures) for side, figures in report.sides.items()},
        "absence": {side: check.model_dump(mode="json") for side, check in report.absence.items()},
    }


def candidate_files(report: CandidateReport) -> dict[str, bytes]:
    """Names and contents of the report's files; ``report.html`` stands alone."""
    document = candidate_document(report)
    return {
        HTML: html_page(document).encode(),
        MARKDOWN: markdown_page(document).encode(),
        JSON: (json.dumps(report_content(report), indent=2, default=str) + "\n").encode(),
        CSV: rows_csv(report.record).encode(),
    } | {picture.name: picture.content for picture in document.pictures()}


def write_candidate_report(folder: Path, report: CandidateReport) -> list[Path]:
    """Write :func:`candidate_files` into a folder, each whole or not at all, and return them."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, content in candidate_files(report).items():
        replace_file(folder / name, content)
        paths.append(folder / name)
    return paths


def rows_csv(record: GateRecord) -> str:
    """One row per image and class; what was not measured is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    measures = ("dice", "predicted_px", "confidence", "presence")
    own = ("name", "phrase", "class_name", "label", "truth_px", "part")
    sides = [side for side in (CANDIDATE, CHAMPION, ZERO) if any(side in row.sides for row in record.rows)]
    writer.writerow([*own, *(f"{side}_{measure}" for side in sides for measure in measures)])
    for row in record.rows:
        cells = [getattr(row.sides.get(side), measure, None) for side in sides for measure in measures]
        writer.writerow([*(getattr(row, name) for name in own), *cells])
    return text.getvalue()
