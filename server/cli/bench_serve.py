"""``tunevlseg bench-serve``: load a server and report."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.checkpoint_parts import AsJson
from server.cli.common import Base, DataDir, Device

if TYPE_CHECKING:
    from rich.table import Table

    from server.load.outcomes import Report
    from server.load.pictures import Pictures

PHRASES = ["tumour", "liver", "polyp", "left lung", "optic disc", "skin lesion", "heart", "instrument"]
DEFAULT_SECONDS = 10.0
FAILED = 1


def bench_serve(
    url: Annotated[
        str | None, typer.Option(help="A running server. Default: one of its own is started for the run.")
    ] = None,
    clients: Annotated[int, typer.Option(min=1, help="Clients who each wait for their answer.")] = 8,
    rate: Annotated[
        float | None,
        typer.Option(min=1e-3, help="Send so many requests per second instead, answered or not."),
    ] = None,
    requests: Annotated[int | None, typer.Option(min=1, help="End after so many requests.")] = None,
    seconds: Annotated[
        float | None, typer.Option(min=0.0, help="Send no more after so many seconds. Default: 10.")
    ] = None,
    warm_up: Annotated[int, typer.Option(min=0, help="Requests sent first and not counted.")] = 16,
    checkpoint: Annotated[
        list[str] | None,
        typer.Option(
            help="`dataset`, `dataset@alias`, `dataset/version` or `zero-shot`; repeat it for a mix. "
            "Default: every dataset's champion, and zero-shot."
        ),
    ] = None,
    prompt: Annotated[list[str] | None, typer.Option(help="A phrase; repeat it. Default: eight.")] = None,
    prompts_each: Annotated[int, typer.Option(min=1, help="Phrases of each request.")] = 1,
    images: Annotated[
        Path | None,
        typer.Option(help="Folder of images. Default: synthetic ones.", exists=True, file_okay=False),
    ] = None,
    image_side: Annotated[int, typer.Option(min=32, max=8192, help="Side of synthetic images.")] = 352,
    repeat: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of requests with an image sent before.")
    ] = 0.0,
    by_id: Annotated[
        bool, typer.Option("--by-id", help="Upload each image once and name it by its id from then on.")
    ] = False,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds after which a request failed.")] = 60.0,
    seed: Annotated[int, typer.Option(help="Of every choice.")] = 0,
    as_json: AsJson = False,
    out: Annotated[
        Path | None, typer.Option(help="Also write the report as JSON to this file.", dir_okay=False)
    ] = None,
    random_checkpoints: Annotated[
        int,
        typer.Option(
            min=0,
            max=1000,
            help="Give the server of its own so many datasets with random prompts, and no other.",
        ),
    ] = 0,
    data_dir: DataDir = None,
    base: Base = None,
    device: Device = None,
) -> None:
    """Load a server with many requests and report throughput, latencies, failures and caches.

    Every answer is checked: it must hold the masks asked for, of the checkpoint asked for. The exit
    code is 1 if any request failed.

    tunevlseg bench-serve --random-checkpoints 16 --clients 16 --seconds 30

    tunevlseg bench-serve --url http://127.0.0.1:8080 --rate 5 --images scans --repeat 0.5 --json
    """
    import asyncio
    import json

    from models_store.errors import BadInputError
    from server.load.loops import Limit
    from server.load.pictures import FolderPictures, SyntheticPictures
    from server.load.run import Way, run_load

    if url is not None and random_checkpoints:
        raise BadInputError("--random-checkpoints is for a server that is started here; leave --url out")
    if requests is None and seconds is None:
        seconds = DEFAULT_SECONDS
    if images is None:
        ahead = 0 if requests is None else warm_up + requests
        pictures: Pictures = SyntheticPictures(image_side, seed, ahead)
    else:
        pictures = FolderPictures(images)
    options = {"--data-dir": data_dir, "--base": base, "--device": device}
    given = [str(part) for pair in options.items() if pair[1] is not None for part in pair]
    with _server(url, given, base, random_checkpoints) as address:
        report = asyncio.run(
            run_load(
                address.rstrip("/"),
                pictures=pictures,
                way=Way(clients, rate),
                limit=Limit(requests, seconds),
                references=checkpoint,
                phrases=prompt or PHRASES,
                phrases_each=prompts_each,
                repeat=repeat,
                by_id=by_id,
                warm_up=warm_up,
                timeout=timeout,
                seed=seed,
            )
        )
    written = json.dumps(report.as_json(), indent=2)
    if out is not None:
        try:
            out.write_text(written + "\n")
        except OSError as error:
            raise BadInputError(f"{out} cannot be written: {error.strerror or error}") from error
    if as_json:
        typer.echo(written)
    else:
        from rich.console import Console

        Console().print(report_table(report))
    if report.failed or not report.requests:
        raise typer.Exit(FAILED)


@contextmanager
def _server(url: str | None, options: list[str], base: str | None, random_checkpoints: int) -> Iterator[str]:
    """The address to load; a server is started and ended where none was named."""
    from server.load.own_server import own_server

    if url is not None:
        yield url
        return
    with tempfile.TemporaryDirectory() as place:
        if random_checkpoints:
            _fill(Path(place), base, random_checkpoints)
            options = [*options, "--data-dir", place]
        typer.echo("Starting a server ...", err=True)
        with own_server(options) as address:
            yield address


def _fill(data_dir: Path, base: str | None, count: int) -> None:
    from models_store.strategies import strategies_for
    from server.cli.common import open_base, open_registry
    from server.load.checkpoints import publish_champions
    from server.settings import read_settings

    settings = read_settings(base=base, data_dir=data_dir, device="cpu")
    vlsm, _ = open_base(settings)
    strategies, depth = strategies_for(vlsm.spec), min(3, vlsm.spec.max_depth)
    publish_champions(open_registry(settings), vlsm, strategies, count, depth=depth)


def report_table(report: Report) -> Table:
    """The report for a person."""
    from rich.table import Table

    table = Table(title="Load", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    way = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in report.way.items())
    rows = [
        ("sent", way),
        ("requests", f"{report.requests}"),
        ("failed", f"{report.failed}"),
        *((f"  {kind}", f"{count}") for kind, count in report.failures.items()),
        ("seconds", f"{report.seconds:.1f}"),
        ("right answers per second", f"{report.throughput:.2f}"),
        *((f"latency {name}", f"{value:.1f} ms") for name, value in report.latency_ms.items()),
        ("repeated images", f"{report.repeated:.0%}"),
        *((f"{kind} found in cache", f"{share:.0%}") for kind, share in report.cache_hits.items()),
        *_server_rows(report),
    ]
    for name, value in rows:
        table.add_row(name, value)
    return table


def _server_rows(report: Report) -> list[tuple[str, str]]:
    told = report.server
    if not told:
        return []
    return [
        ("server: batches", f"{told['batches']}"),
        ("server: rows of a batch", f"{told['rows_per_batch']:.2f}"),
        ("server: checkpoints of a batch", f"{told['checkpoints_per_batch']:.2f}"),
        *((f"server: step {step}", f"{value:.1f} ms") for step, value in told["step_ms"].items()),
        *((f"server: {reason}", f"{count}") for reason, count in told["refusals"].items() if count),
        ("server: memory", f"{told['resident_bytes'] / 1e6:.0f} MB"),
    ]
