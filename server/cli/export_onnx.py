"""``tunevlseg export-onnx``: a base model's graphs, for use without us."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from models_store.vlsm import FrozenVLSM
    from server.settings import Settings


def export_onnx(
    base: Annotated[
        str, typer.Argument(help="Base model: an embedded name, a local folder or a hub id.")
    ] = "clipseg-tiny-med",
    out: Annotated[
        Path | None, typer.Option(help="Folder to write; must not exist.", file_okay=False)
    ] = None,
    int8: Annotated[bool, typer.Option("--int8", help="Matrix products on 8-bit integers.")] = False,
    measure: Annotated[
        Path | None,
        typer.Option(
            help="Compare 8-bit masks with those in single precision on the images of this folder, and "
            "record the figure for `serve`.",
            exists=True,
            file_okay=False,
        ),
    ] = None,
    prompt: Annotated[
        list[str] | None, typer.Option(help="Phrases for --measure, taken in turn; may be repeated.")
    ] = None,
) -> None:
    """Write a base model's ONNX graphs with a README and an example that needs only numpy and ONNX Runtime.

    tunevlseg export-onnx clipseg-tiny-med --out graphs
    """
    from models_store.bases import load_base
    from models_store.errors import BadInputError
    from server.settings import read_settings

    if out is None and measure is None:
        raise BadInputError("nothing to do: give --out FOLDER, or --measure IMAGES")
    if out is not None and out.exists():
        raise BadInputError(f"{out} exists already; name a new folder")
    if measure is not None and not prompt:
        raise BadInputError("--measure needs phrases to look for; give --prompt, once or several times")
    settings = read_settings(base=base)
    frozen = load_base(settings.base)
    if out is not None:
        _write(settings, frozen, out, int8=int8)
    if measure is not None:
        _measure(settings, frozen, measure, prompt or [])


def _write(settings: Settings, frozen: FrozenVLSM, out: Path, *, int8: bool) -> None:
    from models_store.backends.building import open_graphs
    from models_store.backends.places import FP32, INT8, graphs_folder
    from models_store.backends.portable import write_portable

    precision = INT8 if int8 else FP32
    _, manifest = open_graphs(settings.graphs_root, frozen, precision)
    write_portable(graphs_folder(settings.graphs_root, frozen, precision), manifest, frozen, out)
    typer.echo(
        f"{out}: {', '.join(manifest.files)} ({precision}, at most {manifest.max_error:.1e} of the largest "
        "logit away from torch)"
    )


def _measure(settings: Settings, frozen: FrozenVLSM, folder: Path, phrases: list[str]) -> None:
    from models_store.backends.building import open_graphs
    from models_store.backends.gate import LEAST_DICE, keep_figure, measure_dice
    from models_store.backends.places import FP32, INT8, graphs_folder

    whole, quantised = (open_graphs(settings.graphs_root, frozen, p)[0] for p in (FP32, INT8))
    figure = measure_dice(whole, quantised, _samples(folder, phrases), f"images of the folder {folder.name}")
    keep_figure(graphs_folder(settings.graphs_root, frozen, INT8), figure)
    typer.echo(
        f"mean Dice {figure.mean_dice:.4f}, least {figure.least_dice:.4f} on {figure.images} images "
        f"({figure.empty} more gave no mask); {LEAST_DICE} is needed to serve with 8-bit integers"
    )


def _samples(folder: Path, phrases: list[str]) -> Iterator[tuple[NDArray[np.uint8], str]]:
    import numpy as np
    from PIL import Image

    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".png", ".jpg", ".jpeg"))
    for index, path in enumerate(files):
        with Image.open(path) as image:
            yield np.asarray(image.convert("RGB")), phrases[index % len(phrases)]
