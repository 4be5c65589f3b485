"""Entry point of ``tunevlseg``: commands, and how errors leave."""

from __future__ import annotations

import sys

import typer

from models_store.errors import StudioError
from server.cli import (
    bench_serve,
    benchmark,
    checkpoints,
    data,
    datasets,
    evaluate,
    export_onnx,
    gate,
    jobs,
    labels,
    pretrain,
    search,
    segment,
    serve,
    simulate_labelling,
    tune,
    worker,
)

BAD_INPUT = 2

app = typer.Typer(
    name="tunevlseg",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Type a phrase, see the mask, tune a prompt checkpoint. Research use only: not a medical device.",
)
app.command()(serve.serve)
app.command()(worker.worker)
app.command()(bench_serve.bench_serve)
app.command()(segment.segment)
app.command()(tune.tune)
app.command()(search.search)
app.command()(evaluate.evaluate)
app.command()(gate.gate)
app.command()(benchmark.benchmark)
app.command()(simulate_labelling.simulate_labelling)
app.command()(pretrain.pretrain)
app.command()(export_onnx.export_onnx)
app.add_typer(checkpoints.app, name="checkpoints")
app.add_typer(datasets.app, name="datasets")
app.add_typer(labels.app, name="labels")
app.add_typer(data.app, name="data")
app.add_typer(jobs.app, name="jobs")


def main() -> None:
    """Run a command; an error the user can act on is one line and exit code 2."""
    try:
        app()
    except StudioError as error:
        typer.secho(f"error: {error}", fg=typer.colors.RED, err=True)
        sys.exit(BAD_INPUT)


if __name__ == "__main__":
    main()
