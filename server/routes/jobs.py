"""Jobs in the background: ask for them, follow them, cancel them, try again."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Response
from fastapi.responses import FileResponse
from sse_starlette import EventSourceResponse

from models_store.registry import check_dataset_name
from server import problem_kinds as kinds
from server import problems
from server.routes.job_events import followed
from server.routes.parts import Parts, PartsOf
from server.schemas import JobInfo, JobRequest, Signature
from trainer.jobs.policy import CHAMPION, NONE
from trainer.jobs.records import Jobs
from trainer.jobs.states import Job, JobState
from trainer.labels.errors import UnknownLabelsError

router = APIRouter(tags=["jobs"])
READING = problems.problem_responses(
    kinds.UNKNOWN_LABELS, kinds.INVALID_REQUEST, kinds.BAD_INPUT, kinds.STORE_BUSY
)
WRITING = problems.problem_responses(
    kinds.BAD_REQUEST,
    kinds.UNKNOWN_LABELS,
    kinds.UNKNOWN_NAME,
    kinds.CONFLICT,
    kinds.INVALID_REQUEST,
    kinds.BAD_INPUT,
    kinds.STORE_BUSY,
    kinds.STORE_FULL,
    kinds.DAMAGED,
)
LOCATION: dict[int | str, dict[str, Any]] = {
    202: {
        "description": "It is queued; where one was queued already, that one.",
        "headers": {"Location": {"description": "Where the job is.", "schema": {"type": "string"}}},
    }
}
# Of one event, as OpenAPI describes streams.
EVENT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "event": {"type": "string"},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["id", "event", "data"],
}
STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events as they happen, each with its id, its kind as `event`, and its data as JSON.",
        "content": {"text/event-stream": {"schema": EVENT}},
    },
    204: {"description": "The job has ended and every event of it was seen."},
}
PAGE: dict[int | str, dict[str, Any]] = {
    200: {"description": "The page, which stands alone.", "content": {"text/html": {}}}
}
# It shows what people wrote; nothing in it is to run or to be fetched.
PAGE_HEADERS = {"Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'"}
Name = Annotated[str, Path(description="A labelled dataset.", examples=["busi"])]
JobId = Annotated[
    str, Path(description="A job.", pattern="^[0-9a-f]{32}$", examples=["0123456789abcdef0123456789abcdef"])
]


@router.post("/datasets/{name}/jobs", status_code=202, responses=WRITING | LOCATION)
def start_job(parts: PartsOf, response: Response, name: Name, request: JobRequest) -> JobInfo:
    """Tune on the dataset's labels in the background, judge the result, and promote it if it is better.

    One job of a dataset runs at a time, and one waits: it takes whatever is accepted when it begins.

        curl -H 'content-type: application/json' -d '{"author": "mk"}' http://127.0.0.1:8080/datasets/busi/jobs
    """
    check_dataset_name(name)
    check_start(parts, request.warm_start)
    job, _ = parts.jobs.existing.request(name, by=request.author, request=request.wishes)
    parts.jobs.queue.wake(job.id)
    response.headers["Location"] = f"/jobs/{job.id}"
    return _info(job)


@router.get("/jobs", responses=READING)
def list_jobs(
    parts: PartsOf,
    dataset: Annotated[str | None, Query(description="Only this dataset's.", examples=["busi"])] = None,
    state: Annotated[JobState | None, Query(description="Only those in this state.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> list[JobInfo]:
    """Jobs, newest first."""
    if dataset is not None:
        check_dataset_name(dataset)
    jobs = parts.jobs.present
    if jobs is None:
        return []
    return [_info(job) for job in jobs.newest(dataset=dataset, state=state, limit=limit)]


@router.get("/jobs/{job}", responses=READING)
def show_job(parts: PartsOf, job: JobId) -> JobInfo:
    """One job, with its progress, its result or the cause of its failure."""
    return _info(parts.jobs.existing.get(job))


@router.get("/jobs/{job}/events", response_class=Response, responses=READING | STREAM)
def follow_job(
    parts: PartsOf,
    job: JobId,
    last_event_id: Annotated[
        str | None, Header(description="The last event that was seen, as browsers send it.")
    ] = None,
) -> Response:
    """Server-sent events of a job, from the first or from after `Last-Event-ID`, until it has ended.

    curl -N http://127.0.0.1:8080/jobs/0123456789abcdef0123456789abcdef/events
    """
    jobs = parts.jobs.existing
    found, after = jobs.get(job), _number(last_event_id)
    if found.state.ended and not jobs.events(job, after, limit=1):
        # What tells a browser not to ask again.
        return Response(status_code=204)
    return EventSourceResponse(followed(jobs, job, after), headers={"Cache-Control": "no-store"})


@router.post("/jobs/{job}/cancel", status_code=202, responses=WRITING)
def cancel_job(parts: PartsOf, job: JobId, by: Signature) -> JobInfo:
    """End a job: one that waits at once, one that runs at its next step."""
    return _info(parts.jobs.existing.cancel(job, by=by.author))


@router.post("/jobs/{job}/retry", status_code=202, responses=WRITING | LOCATION)
def retry_job(parts: PartsOf, response: Response, job: JobId, by: Signature) -> JobInfo:
    """Queue a job again that failed or was cancelled; on the same labels it goes on where it was."""
    again = parts.jobs.existing.retry(job, by=by.author)
    parts.jobs.queue.wake(again.id)
    response.headers["Location"] = f"/jobs/{again.id}"
    return _info(again)


@router.get("/jobs/{job}/report", response_class=FileResponse, responses=READING | PAGE)
def show_report(parts: PartsOf, job: JobId) -> FileResponse:
    """The page on a job's candidate: how it compares, why it was or was not promoted, with pictures."""
    jobs: Jobs = parts.jobs.existing
    found = jobs.get(job)
    decision = parts.jobs.known_decisions.of_job(job)
    if decision is None or decision.report is None:
        raise UnknownLabelsError(f"job {job} is {found.state} and has no report")
    path = parts.labels.existing.blobs.path(decision.report)
    return FileResponse(path, media_type="text/html", headers=PAGE_HEADERS)


def check_start(parts: Parts, warm_start: str | None) -> None:
    """Refuse a checkpoint to start from that is not there.

    Raises:
        UnknownNameError: There is none of that name.
        BadInputError: It is no name of one.
    """
    if warm_start not in (None, CHAMPION, NONE):
        parts.engine.registry.resolve(str(warm_start))


def _info(job: Job) -> JobInfo:
    return JobInfo.model_validate(job)


def _number(last_event_id: str | None) -> int:
    """The number of an event; what is none means from the start."""
    text = (last_event_id or "").strip()
    # An id is 63 bits at most, in either database.
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else 0
