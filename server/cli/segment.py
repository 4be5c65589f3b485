"""``tunevlseg segment``: masks of one image, without a server."""

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


def segment(
    image: Annotated[Path, typer.Argument(help="PNG, JPEG, TIFF, BMP, WebP or single-frame DICOM.")],
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
    output: Annotated[
        OutputChoice, typer.Option(help="json: run lengths and measures; png: the mask; else pictures.")
    ] = OutputChoice.JSON,
    out: Annotated[
        Path | None, typer.Option(help="File to write. Default: standard output.", dir_okay=False)
    ] = None,
    base: Base = None,
    device: Device = None,
    data_dir: DataDir = None,
) -> None:
    """Segment one image under one or more phrases, and write masks or a picture.

    tunevlseg segment scan.dcm --prompt liver --output overlay --out liver.png
    """
    import sys
    import time

    from models_store.errors import BadInputError
    from server.answers import check_output, json_answer, png_answer
    from server.cli.common import build_engine
    from server.errors import UnreadableImageError
    from server.images import read_image
    from server.inputs import check_phrases, choose_reference
    from server.schemas import Output
    from server.settings import read_settings

    settings = read_settings(base=base, device=device, data_dir=data_dir)
    phrases = check_phrases(prompt, max_phrases=settings.max_phrases, max_length=settings.max_phrase_length)
    wanted = Output(output.value)
    check_output(wanted, phrases)
    if wanted is not Output.JSON and out is None and sys.stdout.isatty():
        raise BadInputError(f"output {output.value!r} is a picture; name a file with --out")
    reference = choose_reference(dataset, checkpoint)
    try:
        content = image.read_bytes()
    except OSError as error:
        raise UnreadableImageError(f"{image} cannot be read: {error.strerror or error}") from error
    decoded = read_image(content, max_pixels=settings.max_pixels)
    engine = build_engine(settings)

    start = time.perf_counter()
    result = engine.segment(decoded.pixels, phrases, reference)
    cut = result.threshold if threshold is None else threshold
    if wanted is Output.JSON:
        answer = json_answer(decoded, result, engine.vlsm.spec, threshold=cut, probabilities=False)
        answer.timings_ms = {**answer.timings_ms, "total": (time.perf_counter() - start) * 1000}
        data = answer.written(indent=2).encode() + b"\n"
    else:
        data = png_answer(decoded, result, wanted, threshold=cut)
    if out is None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    try:
        out.write_bytes(data)
    except OSError as error:
        raise BadInputError(f"{out} cannot be written: {error.strerror or error}") from error
