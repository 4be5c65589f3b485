"""A report's files: JSON and CSV for machines, HTML and Markdown for people."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models_store.files import replace_file
from trainer.reports.cases import Case
from trainer.reports.content import report_document
from trainer.reports.markdown import markdown_page
from trainer.reports.page import html_page
from trainer.reports.plots import sides_of

HTML, MARKDOWN, JSON, CSV = "report.html", "report.md", "report.json", "images.csv"


def report_files(report: dict[str, Any], *, title: str, cases: Sequence[Case] = ()) -> dict[str, bytes]:
    """Names and contents of a report's files.

    ``report.html`` stands alone; ``report.md`` refers to the pictures among the others.

    Args:
        report: As :func:`trainer.comparison.comparison_report` makes it, with ``training`` and
            ``sensitivity`` where there are such.
        title: The heading.
        cases: The worst cases.
    """
    document = report_document(report, title=title, cases=cases)
    return {
        HTML: html_page(document).encode(),
        MARKDOWN: markdown_page(document).encode(),
        JSON: (json.dumps(report, indent=2) + "\n").encode(),
        CSV: images_csv(report).encode(),
    } | {picture.name: picture.content for picture in document.pictures()}


def write_report(
    folder: Path, report: dict[str, Any], *, title: str, cases: Sequence[Case] = ()
) -> list[Path]:
    """Write :func:`report_files` into a folder, each whole or not at all.

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, content in report_files(report, title=title, cases=cases).items():
        replace_file(folder / name, content)
        paths.append(folder / name)
    return paths


def images_csv(report: dict[str, Any]) -> str:
    """One row per image: its figures zero-shot, and tuned where there is a tuned pack.

    An undefined HD95 is an empty cell.
    """
    sides = sides_of(report)
    measures = list(report["images"][0][sides[0]])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", "phrase", "truth_px", *(f"{s}_{m}" for s in sides for m in measures)])
    for image in report["images"]:
        figures = [image[side][measure] for side in sides for measure in measures]
        writer.writerow([image["name"], image["phrase"], image["truth_px"], *figures])
    return text.getvalue()
