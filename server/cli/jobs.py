"""``tunevlseg jobs``: list, show, follow, cancel and retry jobs in the background."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from server.cli.checkpoint_parts import AsJson, Author, login, print_json
from server.cli.common import DataDir

if TYPE_CHECKING:
    from trainer.jobs.records import Jobs
    from trainer.jobs.states import Job

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Jobs that tune in the background; `tunevlseg worker` does them.",
)
JobId = Annotated[str, typer.Argument(help="A job, or the first digits of its id.")]
LOOK_SECONDS = 0.5
FAILED = 1
ID_SHOWN = 8


@app.command("list")
def list_jobs(
    dataset: Annotated[str | None, typer.Option(help="Only this dataset's.")] = None,
    state: Annotated[
        str | None, typer.Option(help="Only queued, running, succeeded, failed or cancelled ones.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 20,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from models_store.errors import BadInputError
    from trainer.jobs.states import JobState

    if state is not None and state not in list(JobState):
        raise BadInputError(f"no state {state!r}; there are {', '.join(JobState)}")
    found = _jobs(data_dir).newest(
        dataset=dataset, state=None if state is None else JobState(state), limit=limit
    )
    if as_json:
        print_json([_content(job) for job in found])
        return
    table = Table("job", "dataset", "state", "asked for by", "at", "")
    for job in found:
        moment = f"{job.created_at:%Y-%m-%d %H:%M}"
        said = job.cause or _progress(job) or str(job.result.get("reason", ""))
        table.add_row(job.id[:ID_SHOWN], job.dataset, job.state, Text(job.requested_by), moment, Text(said))
    Console().print(table)


@app.command()
def show(job: JobId, data_dir: DataDir = None) -> None:
    """Show all there is to know of a job, as JSON."""
    print_json(_content(_found(_jobs(data_dir), job)))


@app.command()
def start(
    dataset: Annotated[str, typer.Argument(help="A labelled dataset.")],
    reason: Annotated[str, typer.Option(help="Why.")] = "asked for",
    author: Author = None,
    data_dir: DataDir = None,
) -> None:
    """Queue a job that tunes on a dataset's labels as its policy says; or name the one that waits."""
    from server.settings import read_settings
    from trainer.jobs.queue import open_queue

    job, new = _jobs(data_dir).request(dataset, by=author or login(), request={"reason": reason})
    queue = open_queue(read_settings(data_dir=data_dir).jobs_url)
    queue.wake(job.id)
    queue.close()
    typer.echo(f"{job.id} {'is queued' if new else 'was queued already'}")


@app.command()
def cancel(job: JobId, author: Author = None, data_dir: DataDir = None) -> None:
    """End a job: one that waits at once, one that runs at its next step."""
    jobs = _jobs(data_dir)
    after = jobs.cancel(_found(jobs, job).id, by=author or login())
    typer.echo(f"{after.id} is {'to be cancelled' if after.cancel_requested else after.state}")


@app.command()
def retry(job: JobId, author: Author = None, data_dir: DataDir = None) -> None:
    """Queue a job again that failed or was cancelled; on the same labels it goes on where it was."""
    from server.settings import read_settings
    from trainer.jobs.queue import open_queue

    jobs = _jobs(data_dir)
    again = jobs.retry(_found(jobs, job).id, by=author or login())
    queue = open_queue(read_settings(data_dir=data_dir).jobs_url)
    queue.wake(again.id)
    queue.close()
    typer.echo(f"{again.id} is queued again")


@app.command()
def watch(job: JobId, data_dir: DataDir = None) -> None:
    """Follow a job until it has ended; the exit code is 1 unless it succeeded."""
    from trainer.jobs.states import JobState

    jobs = _jobs(data_dir)
    found, after = _found(jobs, job), 0
    while True:
        found = jobs.get(found.id)
        events = jobs.events(found.id, after)
        for event in events:
            after = event.id
            told = ", ".join(f"{name} {_short(value)}" for name, value in event.data.items())
            typer.echo(f"{event.at:%H:%M:%S} {event.kind}: {told}")
        if found.state.ended and not events:
            break
        if not events:
            time.sleep(LOOK_SECONDS)
    if found.state is not JobState.SUCCEEDED:
        raise typer.Exit(FAILED)


def _jobs(data_dir: Path | None) -> Jobs:
    from server.labels import Labels
    from server.settings import read_settings
    from trainer.jobs.records import Jobs

    settings = read_settings(data_dir=data_dir)
    return Jobs(Labels(settings.labels_url, settings.blobs_root).existing.database)


def _found(jobs: Jobs, text: str) -> Job:
    """A job by its id or by the beginning of it that no other has."""
    from trainer.labels.errors import UnknownLabelsError

    same = [job for job in jobs.newest(limit=1000) if job.id.startswith(text)]
    if len(same) > 1:
        raise UnknownLabelsError(f"{len(same)} jobs begin with {text!r}; write more of the id")
    return same[0] if same else jobs.get(text)


def _content(job: Job) -> Any:
    from server.schemas import JobInfo

    return JobInfo.model_validate(job).model_dump(mode="json")


def _progress(job: Job) -> str:
    return "" if job.state.ended else ", ".join(f"{k} {_short(v)}" for k, v in job.progress.items())


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
