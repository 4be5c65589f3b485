"""``tunevlseg segment``: masks of images, without a server."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from server.cli.common import Base, DataDir, Device


class OutputChoice(StrEnum):
    """What is written; the REST API's outputs."""

    JSON = "json"
    PNG = "png"
    OVERLAY = "overlay"
    PROBABILITY = "probability"
    PROBABILITY16 = "probability16"
    NIFTI = "nifti"
    CONTOURS = "contours"


class CombineChoice(StrEnum):
    """How masks of several phrases stand to one another."""

    MASKS = "masks"
    LABELS = "labels"


def segment(
    images: Annotated[
        list[Path],
        typer.Argument(
            metavar="IMAGE...", help="PNG, JPEG, TIFF (every page), BMP, WebP or DICOM (every frame)."
        ),
    ],
    prompt: Annotated[list[str], typer.Option(help="What to look for; repeat it for several masks.")],
    dataset: Annotated[str | None, typer.Option(help="Use this dataset's champion.")] = None,
    checkpoint: Annotated[
        str | None, typer.Option(help="`dataset/version` or `dataset@alias`. Neither: zero-shot.")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Where probabilities are cut. Default: the checkpoint's own, else 0.5."
        ),
    ] = None,
    combine: Annotated[
        CombineChoice, typer.Option(help="masks: they may overlap; labels: one label map of all phrases.")
    ] = CombineChoice.MASKS,
    series: Annotated[
        bool, typer.Option("--series", help="The files are DICOM slices of one series: order them.")
    ] = False,
    output: Annotated[
        OutputChoice,
        typer.Option(
            help="json: run lengths and measures; png: the mask or label map; nifti: a .nii.gz; contours: "
            "polygons in JSON; else pictures. Pictures of several images come as a ZIP file."
        ),
    ] = OutputChoice.JSON,
    out: Annotated[
        Path | None, typer.Option(help="File to write. Default: standard output.", dir_okay=False)
    ] = None,
    base: Base = None,
    device: Device = None,
    data_dir: DataDir = None,
) -> None:
    """Segment images under one or more phrases, and write masks or pictures.

    tunevlseg segment scan.dcm --prompt liver --output overlay --out liver.png
    """
    import sys
    import time

    from models_store.errors import BadInputError
    from server.answers import json_answer, versions_of
    from server.cli.common import build_engine
    from server.images.gather import gather
    from server.inputs import check_masks, check_phrases, choose_reference
    from server.outputs import Wish, check_output, write_output
    from server.outputs.cases import segment_cases
    from server.schemas import Combine, Output
    from server.settings import read_settings

    settings = read_settings(base=base, device=device, data_dir=data_dir)
    phrases = check_phrases(prompt, max_phrases=settings.max_phrases, max_length=settings.max_phrase_length)
    wanted, together = Output(output.value), Combine(combine.value)
    check_output(wanted, phrases, together)
    if wanted not in (Output.JSON, Output.CONTOURS) and out is None and sys.stdout.isatty():
        raise BadInputError(f"output {output.value!r} is not text; name a file with --out")
    reference = choose_reference(dataset, checkpoint)
    gathered = gather([_content(path) for path in images], limits=settings.image_limits, series=series)
    check_masks(len(gathered), len(phrases), settings.max_masks)
    engine = build_engine(settings)

    start = time.perf_counter()
    cases = segment_cases(engine, gathered, phrases, reference)
    wish = Wish(cases[0].result.threshold if threshold is None else threshold, together)
    spec = engine.vlsm.spec
    if wanted is Output.JSON:
        answer = json_answer(cases, spec, wish, cases[0].result.timings_ms)
        answer.timings_ms["total"] = (time.perf_counter() - start) * 1000
        data = answer.written(indent=2).encode() + b"\n"
    else:
        data = write_output(wanted, cases, wish, versions_of(cases[0].result, spec)).content
    _write(data, out)


def _content(path: Path) -> bytes:
    from server.errors import UnreadableImageError

    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadableImageError(f"{path} cannot be read: {error.strerror or error}") from error


def _write(data: bytes, out: Path | None) -> None:
    import sys

    from models_store.errors import BadInputError

    if out is None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    try:
        out.write_bytes(data)
    except OSError as error:
        raise BadInputError(f"{out} cannot be written: {error.strerror or error}") from error
